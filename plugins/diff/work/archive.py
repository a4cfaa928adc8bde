# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A layer's tar, from the chunks of its uncompressed bytes to entries and their data."""

from __future__ import annotations

import os
from collections.abc import Iterator

from pluggd.errors import InvalidArgument, ResourceExhausted

from .entries import DATALESS, DIRECTORY, FILE, Entry, shown
from .headers import BLOCK, read_header
from .pax import Records, apply_records, read_records
from .sparse import PREFIX, read_old_map, read_pax_map

MAX_EXTENSION = 1 << 20
"""Bytes of the extended headers of one entry, as in Go."""

_EMPTY = memoryview(b"")
_ZERO = bytes(BLOCK)


class Archive:
    """`next` entry, then `copy` its data, or leave them; `drain` reads what remains.

    chunks: the whole archive, in pieces of any size. Raises InvalidArgument for what
    is no tar, or one that ends too early. What follows the end mark is not looked at,
    but taken: the digest of a layer covers it. What a global pax header says is not
    applied, as Go does not: the files must be those that others saw.
    """

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._chunk = _EMPTY
        self._position = 0
        self._left = 0  # bytes of the current entry's data
        self._padding = 0
        self._where = "at the beginning"
        self.entries = 0

    def next(self) -> Entry | None:
        """The next entry, or None at the end."""
        self._skip(self._left)
        # umoci ends a layer with the last byte of a file, and Go takes that.
        self._skip(self._padding, at_end=True)
        self._left = self._padding = 0
        records: list[tuple[bytes, bytes]] = []
        longname = longlink = b""
        extended = 0
        while True:
            block = self._header(inside=extended > 0)
            if block is None:
                return None
            entry = read_header(block)
            if entry.kind in b"xgLK":
                extended += BLOCK + entry.size
                if extended > MAX_EXTENSION:
                    raise ResourceExhausted(
                        f"tar: the extended headers {self._where} are over the limit "
                        f"of {MAX_EXTENSION} bytes: resource exhausted"
                    )
                data = self._read(entry.size)
                self._skip(-entry.size % BLOCK)
                if entry.kind == b"x":
                    records = read_records(data)
                elif entry.kind == b"L":
                    longname = data.partition(b"\0")[0]
                elif entry.kind == b"K":
                    longlink = data.partition(b"\0")[0]
                else:
                    read_records(data)
                continue
            entry.name = longname or entry.name
            entry.link = longlink or entry.link
            self._begin(entry, block, records)
            return entry

    def copy(self, fd: int, size: int) -> None:
        """Write the next bytes of the current entry to a file, where it stands."""
        self._left -= size
        while size:
            view = self._available(size)
            size -= len(view)
            while view:
                view = view[os.write(fd, view) :]

    def drain(self) -> None:
        """Take all that remains."""
        self._chunk = _EMPTY
        for _ in self._chunks:
            pass

    def _begin(
        self, entry: Entry, block: bytes, records: list[tuple[bytes, bytes]]
    ) -> None:
        self.entries += 1
        ordinary: Records = {k: v for k, v in records if not k.startswith(PREFIX)}
        apply_records(entry, ordinary)
        if entry.kind == b"\0":
            # As tar wrote directories before there was a type for them.
            entry.kind = DIRECTORY if entry.name.endswith(b"/") else FILE
        self._where = f"after entry {shown(entry.name)}"
        padded = -entry.size % BLOCK
        if entry.kind == b"S":
            read_old_map(entry, block, self._read)
        elif entry.kind == FILE:
            read_pax_map(entry, records, self._read)
        elif entry.kind in DATALESS:
            # They may carry the size of their target, without its bytes.
            entry.size = padded = 0
        self._left, self._padding = entry.size, padded

    def _header(self, *, inside: bool) -> bytes | None:
        block = self._read(BLOCK, at_end=not inside)
        if not block:
            return None  # without an end mark: Go and GNU tar take it, too
        if block != _ZERO:
            return block
        second = self._read(BLOCK, at_end=True)
        if inside or second not in (b"", _ZERO):
            raise InvalidArgument(f"invalid tar header: an empty block {self._where}")
        return None

    def _read(self, size: int, *, at_end: bool = False) -> bytes:
        """That many bytes; none when the archive ends here, where it may."""
        view = self._available(size, at_end=at_end)
        if len(view) == size:
            return bytes(view)
        if not view and at_end:
            return b""
        whole = bytearray(view)
        while len(whole) < size:
            whole += self._available(size - len(whole))
        return bytes(whole)

    def _skip(self, size: int, *, at_end: bool = False) -> None:
        while size:
            skipped = len(self._available(size, at_end=at_end))
            if not skipped:
                return
            size -= skipped

    def _available(self, size: int, *, at_end: bool = False) -> memoryview:
        """Up to `size` of the next bytes, at least one."""
        if not size:
            return _EMPTY
        while self._position == len(self._chunk):
            chunk = next(self._chunks, None)
            if chunk is None:
                if at_end:
                    return _EMPTY
                raise InvalidArgument(f"tar is truncated: it ends {self._where}")
            self._chunk, self._position = memoryview(chunk), 0
        start = self._position
        self._position = min(start + size, len(self._chunk))
        return self._chunk[start : self._position]
