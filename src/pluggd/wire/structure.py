# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The shape of an encoded message, read without decoding it.

For the few messages whose size or bytes do not already show that they are within
the limits, and for those that are refused: whose they were. About 0.1 us per value,
and it stops at the limit of values, so the worst message costs milliseconds.
"""

from __future__ import annotations

from pluggd.wire.errors import LimitExceeded, Malformed
from pluggd.wire.limits import Limits
from pluggd.wire.messages import MAX_MSGID


def _whole_sizes() -> list[int]:
    """Bytes of a value by its first byte, where that byte tells; else 0."""
    sizes = [1] * 256
    for byte in range(0x80, 0xA0):  # fixmap, fixarray
        sizes[byte] = 0
    for byte in range(0xA0, 0xC0):  # fixstr
        sizes[byte] = 1 + (byte & 0x1F)
    for byte in range(0xC4, 0xCA):  # bin, ext
        sizes[byte] = 0
    sizes[0xCA], sizes[0xCB] = 5, 9  # float
    sizes[0xCC], sizes[0xCD], sizes[0xCE], sizes[0xCF] = 2, 3, 5, 0  # uint
    sizes[0xD0], sizes[0xD1], sizes[0xD2], sizes[0xD3] = 2, 3, 5, 9  # int
    for power, byte in enumerate(range(0xD4, 0xD9)):  # fixext
        sizes[byte] = 2 + (1 << power)
    for byte in range(0xD9, 0xE0):  # str, array, map
        sizes[byte] = 0
    return sizes


_WHOLE = _whole_sizes()
_LENGTH_AND_MORE = {
    0xC4: (1, 0),
    0xC5: (2, 0),
    0xC6: (4, 0),
    0xC7: (1, 1),
    0xC8: (2, 1),
    0xC9: (4, 1),
    0xD9: (1, 0),
    0xDA: (2, 0),
    0xDB: (4, 0),
}
"""Width of the length, and bytes besides the content, of str, bin and ext."""


def check_structure(raw: bytes, limits: Limits) -> None:
    """Check depth, number of values and the range of integers of a complete message.

    Raises LimitExceeded, or Malformed for an integer above int64.
    """
    position = 0
    open_: list[int] = []
    left = 1
    total = 0
    while True:
        while left == 0:
            if not open_:
                return
            left = open_.pop()
        left -= 1
        byte = raw[position]
        whole = _WHOLE[byte]
        if whole:
            position += whole
            continue
        if byte in _LENGTH_AND_MORE:
            width, more = _LENGTH_AND_MORE[byte]
            start = position + 1
            length = int.from_bytes(raw[start : start + width], "big")
            position = start + width + more + length
            continue
        if byte == 0xCF:
            if raw[position + 1] & 0x80:
                raise Malformed(
                    "an integer is above 2**63 - 1, the largest that every client reads",
                    msgid=peek_msgid(raw),
                )
            position += 9
            continue
        if byte < 0xA0:
            count = byte & 0x0F
            values = count if byte >= 0x90 else 2 * count
            position += 1
        else:
            width = 2 if byte in (0xDC, 0xDE) else 4
            start = position + 1
            count = int.from_bytes(raw[start : start + width], "big")
            values = count if byte < 0xDE else 2 * count
            position = start + width
        total += values
        if total > limits.elements:
            raise LimitExceeded(
                f"a message may have at most {limits.elements} values",
                msgid=peek_msgid(raw),
            )
        open_.append(left)
        if len(open_) > limits.depth:
            raise LimitExceeded(
                f"a message may nest at most {limits.depth} levels",
                msgid=peek_msgid(raw),
            )
        left = values


def peek_msgid(head: bytes) -> int | None:
    """The msgid of a request from its first bytes; None when there is none to see."""
    if len(head) < 3 or head[0] != 0x94 or head[1] != 0:
        return None
    byte = head[2]
    if byte < 0x80:
        return byte
    width = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}.get(byte)
    if width is None or len(head) < 3 + width:
        return None
    msgid = int.from_bytes(head[3 : 3 + width], "big")
    return msgid if msgid <= MAX_MSGID else None
