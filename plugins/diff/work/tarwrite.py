# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Headers of a layer's tar: pax where ustar is too small, no names of users, no other
times than that of the change, in whole seconds. The same entry gives the same bytes."""

from __future__ import annotations

from .entries import Entry
from .headers import BLOCK
from .pax import XATTR

END = bytes(2 * BLOCK)

_MAX_ID = 0o7777777
_MAX_OCTAL = 0o77777777777


def header(entry: Entry) -> bytes:
    """The blocks before an entry's data."""
    seconds = entry.mtime // 1_000_000_000
    records: dict[bytes, bytes] = {}
    if _needs_pax(entry.name):
        records[b"path"] = entry.name
    if _needs_pax(entry.link):
        records[b"linkpath"] = entry.link
    if entry.size > _MAX_OCTAL:
        records[b"size"] = b"%d" % entry.size
    if not 0 <= seconds <= _MAX_OCTAL:
        records[b"mtime"] = b"%d" % seconds
    for key, value in ((b"uid", entry.uid), (b"gid", entry.gid)):
        if value > _MAX_ID:
            records[key] = b"%d" % value
    for name, data in entry.xattrs.items():
        records[XATTR + name] = data
    block = _block(entry, entry.kind, entry.name, entry.size, seconds)
    if not records:
        return block
    data = b"".join(_record(key, records[key]) for key in sorted(records))
    name = b"PaxHeaders.0/" + entry.name.rstrip(b"/").rpartition(b"/")[2]
    extension = Entry(name=name)
    first = _block(extension, b"x", name, len(data), 0)
    return first + data + padding(len(data)) + block


def padding(size: int) -> bytes:
    """What follows data of this size."""
    return bytes(-size % BLOCK)


def _needs_pax(name: bytes) -> bool:
    return len(name) > 100 or not name.isascii()


def _record(key: bytes, value: bytes) -> bytes:
    """`length key=value` and a newline, where the length counts its own digits."""
    length = rest = len(key) + len(value) + 3
    while rest + len(str(length)) != length:
        length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _block(entry: Entry, kind: bytes, name: bytes, size: int, seconds: int) -> bytes:
    device = kind in b"34"
    block = bytearray(BLOCK)
    block[0:100] = name[:100].ljust(100, b"\0")
    block[100:108] = b"%07o\0" % entry.mode
    block[108:116] = b"%07o\0" % (entry.uid if entry.uid <= _MAX_ID else 0)
    block[116:124] = b"%07o\0" % (entry.gid if entry.gid <= _MAX_ID else 0)
    block[124:136] = b"%011o\0" % (size if size <= _MAX_OCTAL else 0)
    block[136:148] = b"%011o\0" % (seconds if 0 <= seconds <= _MAX_OCTAL else 0)
    block[148:156] = b" " * 8
    block[156:157] = kind
    block[157:257] = entry.link[:100].ljust(100, b"\0")
    block[257:265] = b"ustar\x0000"
    block[329:337] = b"%07o\0" % (entry.major if device else 0)
    block[337:345] = b"%07o\0" % (entry.minor if device else 0)
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)
