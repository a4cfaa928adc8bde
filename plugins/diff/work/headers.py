# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A header block of a tar archive: ustar, GNU and old ones, read as Go reads them.

The standard library's reader takes damaged numbers for zero, and the registry, the
builder and this daemon would see different files in one layer; so it is not used.
"""

from __future__ import annotations

from pluggd.errors import InvalidArgument

from .entries import FILE, Entry, shown

BLOCK = 512
MAX_INT = (1 << 63) - 1


class Number(Exception):
    """A numeric field that is no number; what it held."""


def number(field: bytes) -> int:
    """An octal or base-256 field. Raises Number."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
        if field[0] & 0x40:
            value -= 1 << (8 * len(field) - 1)
        return value
    digits = field.strip(b" \0").partition(b"\0")[0]
    if not digits:
        return 0
    if digits.translate(None, b"01234567"):
        raise Number(repr(field))
    return int(digits, 8)


def text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def checksum_matches(block: bytes) -> bool:
    """Both ways in which the sum was ever made: of unsigned and of signed bytes."""
    try:
        stated = number(block[148:156])
    except Number:
        return False
    unsigned = sum(block) - sum(block[148:156]) + 256
    if unsigned == stated:
        return True
    outside = block[:148] + block[156:]
    return unsigned - 256 * sum(byte > 127 for byte in outside) == stated


def read_header(block: bytes) -> Entry:
    """The entry of a block that is not all zero. Raises InvalidArgument."""
    if not checksum_matches(block):
        raise InvalidArgument("invalid tar header: its checksum is wrong")
    name = text(block[:100])
    magic = block[257:265]
    if magic[:6] == b"ustar\0" and (prefix := text(block[345:500])):
        name = prefix + b"/" + name
    kind = block[156:157]
    if kind == b"7":
        kind = FILE  # contiguous, where there was such a thing
    try:
        entry = Entry(
            name=name,
            kind=kind,
            size=number(block[124:136]),
            mode=number(block[100:108]) & 0o7777,
            uid=number(block[108:116]),
            gid=number(block[116:124]),
            mtime=number(block[136:148]) * 1_000_000_000,
            link=text(block[157:257]),
        )
        if kind in b"34":
            entry.major = number(block[329:337])
            entry.minor = number(block[337:345])
    except Number as error:
        raise InvalidArgument(
            f"invalid tar header: entry {shown(name)} has the number {error}"
        ) from None
    if not 0 <= entry.size <= MAX_INT:
        raise InvalidArgument(
            f"invalid tar header: entry {shown(name)} has the size {entry.size}"
        )
    return entry
