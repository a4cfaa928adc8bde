# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sparse files: the four ways in which GNU tar says where the data lie."""

from __future__ import annotations

from collections.abc import Callable

from pluggd.errors import InvalidArgument

from .entries import FILE, Entry, Segments, shown
from .headers import BLOCK, MAX_INT, Number, number

MAX_SEGMENTS = 1_000_000
"""Of one file; a map of that many takes some 20 MB."""

Read = Callable[[int], bytes]
"""That many of the next bytes of the archive."""

PREFIX = b"GNU.sparse."


def read_old_map(entry: Entry, block: bytes, read: Read) -> None:
    """Type `S`: four segments in the header, more in blocks that follow it."""
    try:
        found = _pairs(block[386 : 386 + 96])
        more, entry.apparent = block[482], number(block[483:495])
        while more:
            _limit(entry, len(found))
            extension = read(BLOCK)
            found += _pairs(extension[:504])
            more = extension[504]
    except Number as error:
        raise _bad(entry, f"the number {error}") from None
    entry.kind = FILE
    entry.sparse = _checked(entry, found)


def read_pax_map(entry: Entry, records: list[tuple[bytes, bytes]], read: Read) -> None:
    """Versions 0.0, 0.1 and 1.0, when these records say that the file is sparse."""
    found = {key: value for key, value in records if key.startswith(PREFIX)}
    if not found:
        return
    entry.name = found.get(PREFIX + b"name", b"") or entry.name
    size = found.get(PREFIX + b"realsize", found.get(PREFIX + b"size", b""))
    entry.apparent = _decimal(entry, size)
    if found.get(PREFIX + b"major") == b"1":
        segments = _map_in_data(entry, read)
    elif (listed := found.get(PREFIX + b"map")) is not None:
        numbers = [_decimal(entry, one) for one in listed.split(b",") if listed]
        segments = list(zip(numbers[::2], numbers[1::2], strict=False))
        if len(numbers) % 2:
            raise _bad(entry, "a map of an odd number of values")
    elif PREFIX + b"numblocks" in found or PREFIX + b"offset" in found:
        offsets = [v for k, v in records if k == PREFIX + b"offset"]
        lengths = [v for k, v in records if k == PREFIX + b"numbytes"]
        if len(offsets) != len(lengths):
            raise _bad(entry, "offsets without lengths")
        segments = [
            (_decimal(entry, offset), _decimal(entry, length))
            for offset, length in zip(offsets, lengths, strict=True)
        ]
    else:
        raise _bad(entry, "no map")
    entry.sparse = _checked(entry, segments)


def _map_in_data(entry: Entry, read: Read) -> Segments:
    """Version 1.0: decimal lines before the data, padded to whole blocks."""
    text = bytearray()
    lines: list[int] = []
    wanted = 1

    def more() -> None:
        if entry.size < BLOCK:
            raise _bad(entry, "a map that is longer than its data")
        entry.size -= BLOCK
        text.extend(read(BLOCK))

    while len(lines) < wanted:
        newline = text.find(b"\n")
        if newline < 0:
            if len(text) > 2 * BLOCK:
                raise _bad(entry, "a map that is no list of numbers")
            more()
            continue
        lines.append(_decimal(entry, bytes(text[:newline])))
        del text[: newline + 1]
        if len(lines) == 1:
            _limit(entry, lines[0])
            wanted = 1 + 2 * lines[0]
    return list(zip(lines[1::2], lines[2::2], strict=True))


def _pairs(data: bytes) -> Segments:
    found: Segments = []
    for start in range(0, len(data), 24):
        if not data[start]:
            break
        offset = number(data[start : start + 12])
        found.append((offset, number(data[start + 12 : start + 24])))
    return found


def _checked(entry: Entry, segments: Segments) -> Segments:
    """In order, within the file, and of as many bytes as follow."""
    _limit(entry, len(segments))
    end = 0
    for offset, length in segments:
        if offset < end or length < 0 or offset + length > entry.apparent:
            raise _bad(entry, "segments that overlap or lie outside of it")
        end = offset + length
    if sum(length for _, length in segments) != entry.size:
        raise _bad(entry, f"segments that are not its {entry.size} bytes of data")
    return segments


def _limit(entry: Entry, count: int) -> None:
    if count > MAX_SEGMENTS:
        raise _bad(entry, f"more than {MAX_SEGMENTS} segments")


def _decimal(entry: Entry, value: bytes) -> int:
    if not value.isdigit() or len(value) > 19 or int(value) > MAX_INT:
        raise _bad(entry, f"the number {shown(value)}")
    return int(value)


def _bad(entry: Entry, what: str) -> InvalidArgument:
    return InvalidArgument(
        f"invalid tar header: sparse file {shown(entry.name)} has {what}"
    )
