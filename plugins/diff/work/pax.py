# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Extended headers: what pax records say about the entry that follows them."""

from __future__ import annotations

from pluggd.errors import InvalidArgument

from .entries import Entry, shown
from .headers import MAX_INT

XATTR = b"SCHILY.xattr."
Records = dict[bytes, bytes]

_NO_NUL = frozenset((b"path", b"linkpath"))


def read_records(data: bytes) -> list[tuple[bytes, bytes]]:
    r"""The records `length key=value\n`, in order. Raises InvalidArgument."""
    found: list[tuple[bytes, bytes]] = []
    position = 0
    while position < len(data):
        if not data[position:].strip(b"\0"):
            break  # padding that some writers count in
        space = data.find(b" ", position, position + 20)
        digits = data[position:space] if space > 0 else b""
        if not digits.isdigit():
            raise _malformed("a record has no length")
        end = position + int(digits)
        if end > len(data) or end <= space:
            raise _malformed(f"a record claims {int(digits)} bytes")
        key, equals, value = data[space + 1 : end].partition(b"=")
        if not key or not equals or not value.endswith(b"\n"):
            raise _malformed(f"the record {shown(key)} has no value")
        value = value[:-1]
        if b"\0" in key or (b"\0" in value and key in _NO_NUL):
            raise _malformed(f"the record {shown(key)} holds a NUL byte")
        found.append((key, value))
        position = end
    return found


def apply_records(entry: Entry, records: Records) -> None:
    """Put what the records say into the entry. Raises InvalidArgument."""
    for key, value in records.items():
        if key == b"path":
            entry.name = value or entry.name
        elif key == b"linkpath":
            entry.link = value or entry.link
        elif key == b"size":
            entry.size = _number(entry, key, value)
        elif key == b"uid":
            entry.uid = _number(entry, key, value)
        elif key == b"gid":
            entry.gid = _number(entry, key, value)
        elif key == b"mtime":
            entry.mtime = _time(entry, value)
        elif key.startswith(XATTR):
            entry.xattrs[key[len(XATTR) :]] = value


def _number(entry: Entry, key: bytes, value: bytes) -> int:
    if not value:
        return int(getattr(entry, key.decode()))  # an empty value takes nothing back
    if not value.isdigit() or len(value) > 19 or int(value) > MAX_INT:
        raise InvalidArgument(
            f"invalid tar header: entry {shown(entry.name)} has the pax "
            f"{key.decode()} {shown(value)}"
        )
    return int(value)


def _time(entry: Entry, value: bytes) -> int:
    """Nanoseconds of a decimal number of seconds, towards the past."""
    if not value:
        return entry.mtime
    sign = -1 if value.startswith(b"-") else 1
    seconds, _, fraction = value.removeprefix(b"-").partition(b".")
    if not seconds.isdigit() or len(seconds) > 12 or fraction.strip(b"0123456789"):
        raise InvalidArgument(
            f"invalid tar header: entry {shown(entry.name)} has the pax mtime "
            f"{shown(value)}"
        )
    return sign * (int(seconds) * 1_000_000_000 + int(fraction[:9].ljust(9, b"0")))


def _malformed(why: str) -> InvalidArgument:
    return InvalidArgument(f"invalid tar header: malformed pax header: {why}")
