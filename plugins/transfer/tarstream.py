# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A tar archive as a stream of events: bytes in, entries and their data out.

Sans-IO, because an import comes in chunks over a socket and must not wait in a
thread for each of them; the standard library's TarFile reads from a blocking file.
The header itself, with its checksum, is read by the standard library. Understands
ustar, GNU long names and pax; refuses what no image needs (sparse files).

Knows nothing of images: which names and types are acceptable is the importer's rule.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass

from pluggd.errors import InvalidArgument, ResourceExhausted

BLOCK = 512
MAX_EXTENSION = 1 << 20
"""Bytes of one extended header: it may hold attributes of a file, which nobody needs."""

MAX_NAME = 4096
"""Bytes of a name or the target of a link, as for a path on Linux."""

MAX_SIZE = 2**63 - 1
"""Bytes of an entry: beyond, no number of the wire or of a record says it."""

ESCAPED = "backslashreplace"
"""How names that are no UTF-8 are read. No image has one, but errors and progress have
to tell of them."""

_NAMES = {b"path", b"linkpath"}
_SPARSE = b"GNU.sparse"

_EXTENSIONS = {b"x": "pax", b"g": "global pax", b"L": "name", b"K": "link"}


@dataclass(frozen=True, slots=True)
class Entry:
    """The beginning of an entry. kind: file, directory, symlink, hardlink or other."""

    name: str
    kind: str
    size: int
    link: str


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of the entry that began last."""

    chunk: memoryview


@dataclass(frozen=True, slots=True)
class EntryEnd:
    """All bytes of the entry were given."""


Event = Entry | Data | EntryEnd

_KINDS = {
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
    tarfile.CONTTYPE: "file",
    tarfile.DIRTYPE: "directory",
    tarfile.SYMTYPE: "symlink",
    tarfile.LNKTYPE: "hardlink",
}


class TarStream:
    """`feed` bytes and take the events; `close` says whether the archive was whole.

    Raises InvalidArgument for what is no tar archive. After an error it is dead.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._remaining = 0  # bytes of the current entry still to come
        self._padding = 0  # zero bytes up to the next block
        self._extension = ""  # the kind of extension header being collected
        self._collected = bytearray()
        self._pax: dict[str, str] = {}
        self._global: dict[str, str] = {}
        self._entries = 0
        self._finished = False

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events that these bytes complete; data is not copied where possible."""
        view = memoryview(data)
        while view:
            if self._finished:
                return  # whatever follows the end mark is padding
            if self._remaining:
                taken = min(self._remaining, len(view))
                yield from self._take(view[:taken])
                view = view[taken:]
            elif self._padding:
                taken = min(self._padding, len(view))
                self._padding -= taken
                view = view[taken:]
            else:
                taken = min(BLOCK - len(self._buffer), len(view))
                self._buffer += view[:taken]
                view = view[taken:]
                if len(self._buffer) == BLOCK:
                    block = bytes(self._buffer)
                    self._buffer.clear()
                    yield from self._header(block)

    def close(self) -> None:
        """Raises InvalidArgument when the archive ends in the middle."""
        if self._remaining or self._padding or self._buffer or self._extension:
            raise InvalidArgument(
                "archive is truncated: it ends in the middle of an entry; "
                "send the whole file: invalid argument"
            )
        if not self._finished:
            raise InvalidArgument(
                "archive is truncated: it has no end mark; send the whole file: "
                "invalid argument"
                if self._entries
                else "archive is empty, or not a tar archive: invalid argument"
            )

    def _take(self, chunk: memoryview) -> Iterator[Event]:
        self._remaining -= len(chunk)
        if self._extension:
            self._collected += chunk
            if not self._remaining:
                self._end_extension()
            return
        yield Data(chunk)
        if not self._remaining:
            yield EntryEnd()

    def _header(self, block: bytes) -> Iterator[Event]:
        if block.count(0) == BLOCK:
            self._finished = True
            return
        try:
            header = tarfile.TarInfo.frombuf(block, "utf-8", ESCAPED)
        except tarfile.HeaderError as error:
            what = "archive" if self._entries else "not a tar archive"
            hint = (
                "; compressed archives are not accepted, uncompress it first"
                if block[:2] == b"\x1f\x8b" or block[:4] == b"\x28\xb5\x2f\xfd"
                else ""
            )
            raise InvalidArgument(f"{what}: {error}{hint}: invalid argument") from None
        size = header.size
        if size < 0:
            raise InvalidArgument(
                f'archive entry "{header.name}" has a negative size: invalid argument'
            )
        self._padding = -size % BLOCK
        extension = _EXTENSIONS.get(header.type)
        if extension is not None:
            if size > MAX_EXTENSION:
                raise ResourceExhausted(
                    f"archive: an extended header of {size} bytes is over the limit "
                    f"of {MAX_EXTENSION}: resource exhausted"
                )
            self._extension = extension
            self._collected.clear()
            self._remaining = size
            if not size:
                self._end_extension()
            return
        yield from self._begin(header)

    def _begin(self, header: tarfile.TarInfo) -> Iterator[Event]:
        pax = {**self._global, **self._pax}
        self._pax = {}
        if header.type == tarfile.GNUTYPE_SPARSE or "sparse" in pax:
            raise InvalidArgument(
                f'archive entry "{header.name}" is a sparse file, which is not '
                "supported: invalid argument"
            )
        stated = pax.get("size", str(header.size))
        digits = stated.isascii() and stated.isdigit() and len(stated) < 20
        size = int(stated) if digits else -1
        if not 0 <= size <= MAX_SIZE:
            raise InvalidArgument(
                f'archive entry "{header.name}" has the bad size "{stated[:20]}": '
                "invalid argument"
            )
        kind = _KINDS.get(header.type, "other")
        if kind != "file":
            size = 0  # links may carry the size of their target, without its bytes
        self._padding = -size % BLOCK
        self._remaining = size
        self._entries += 1
        yield Entry(
            name=pax.get("path", header.name),
            kind=kind,
            size=size,
            link=pax.get("linkpath", header.linkname),
        )
        if not size:
            yield EntryEnd()

    def _end_extension(self) -> None:
        kind, self._extension = self._extension, ""
        data = bytes(self._collected)
        if kind == "name":
            self._pax["path"] = _name(data.rstrip(b"\0"))
        elif kind == "link":
            self._pax["linkpath"] = _name(data.rstrip(b"\0"))
        elif kind == "pax":
            self._pax.update(_read_pax(data))
        else:
            self._global.update(_read_pax(data))


def _text(data: bytes) -> str:
    return data.decode("utf-8", ESCAPED)


def _name(data: bytes) -> str:
    if len(data) > MAX_NAME:
        raise InvalidArgument(
            f'archive has a name of {len(data)} bytes, which begins "{_text(data[:64])}"; '
            f"a name may have {MAX_NAME}: invalid argument"
        )
    return _text(data)


def _read_pax(data: bytes) -> dict[str, str]:
    """What is used of the records `length key=value\n` of a pax header; the rest is not
    kept, since an archive may have any number of them."""
    found: dict[str, str] = {}
    position = 0
    while position < len(data):
        space = data.find(b" ", position)
        digits = data[position:space]
        if space < 0 or not digits.isdigit() or len(digits) > 9:
            raise InvalidArgument("archive: malformed pax header: invalid argument")
        end = position + int(digits)
        record = data[space + 1 : end]
        key, equals, value = record.partition(b"=")
        if end > len(data) or not equals or not record.endswith(b"\n"):
            raise InvalidArgument("archive: malformed pax header: invalid argument")
        if key == b"size":
            found["size"] = _text(value[:-1][:32])
        elif key in _NAMES:
            found[key.decode()] = _name(value[:-1])
        elif key.startswith(_SPARSE):
            found["sparse"] = ""
        position = end
    return found
