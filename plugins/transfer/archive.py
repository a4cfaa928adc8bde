# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Receiving an archive: every file becomes a blob, what describes it stays at hand.

One pass, because an archive may come from a pipe and may describe itself at its end.
Knows the rules for names and sizes of entries; what the images are is for others.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Protocol

import trio

from pluggd.errors import (
    AlreadyExists,
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PluggdError,
    ResourceExhausted,
)

from .backends import Backends
from .layout import DESCRIBING, blob_digest, clean_name, resolve_link
from .progress import Reporter
from .tarstream import Data, Entry, TarStream

HEAD = 8
"""First bytes of a file that are remembered, to tell how a layer is compressed."""


@dataclass(frozen=True, slots=True)
class Blob:
    """A file of the archive, now in the content store."""

    digest: str
    size: int
    head: bytes


@dataclass
class Archive:
    """What was received. Names are clean paths; links point to clean paths."""

    blobs: dict[str, Blob] = field(default_factory=dict[str, Blob])
    links: dict[str, str] = field(default_factory=dict[str, str])
    describing: dict[str, bytes] = field(default_factory=dict[str, bytes])

    def find(self, name: str) -> Blob:
        """The file of this name, through links. Raises InvalidArgument."""
        seen: set[str] = set()
        target = name
        while target in self.links and target not in seen:
            seen.add(target)
            target = self.links[target]
        blob = self.blobs.get(target)
        if blob is None:
            raise InvalidArgument(
                f'archive has no file "{name}", which its description names: '
                "invalid argument"
            )
        return blob


class Receiver:
    """Takes the chunks of an archive under the lease of this call."""

    def __init__(self, backends: Backends, reporter: Reporter, ref: str) -> None:
        self._backends = backends
        self._config = backends.config
        self._reporter = reporter
        self._ref = ref
        self._archive = Archive()
        self._names: set[str] = set()
        self._file: _File | None = None

    async def receive(self, chunks: AsyncIterator[bytes]) -> Archive:
        """Read to the end. Raises what TarStream raises, and for each bad entry."""
        stream = TarStream()
        received = 0
        try:
            async for chunk in chunks:
                received += len(chunk)
                self._reporter.set("receiving", "archive", received)
                for event in stream.feed(chunk):
                    if isinstance(event, Entry):
                        self._file = self._begin(event)
                    elif self._file is None:
                        continue
                    elif isinstance(event, Data):
                        await self._file.write(event.chunk)
                    else:
                        await self._file.close()
                        self._file = None
            stream.close()
        except BaseException:
            if self._file is not None:
                await self._file.abort()
            raise
        self._reporter.set("received", "archive", received, received)
        return self._archive

    def _begin(self, entry: Entry) -> _File | None:
        name = clean_name(entry.name)
        if entry.kind == "directory" or not name:
            return None
        if name in self._names:
            raise InvalidArgument(
                f'archive has two entries named "{name}": invalid argument'
            )
        self._names.add(name)
        if len(self._names) > self._config.max_entries:
            raise ResourceExhausted(
                f"archive has more than {self._config.max_entries} entries "
                "(max_entries): resource exhausted"
            )
        digest = blob_digest(name)
        if entry.kind == "symlink":
            # Old docker archives link equal layers to each other; nothing else may.
            if digest is not None or name in DESCRIBING:
                raise InvalidArgument(
                    f'archive entry "{name}" must be a file, not a link: '
                    "invalid argument"
                )
            self._archive.links[name] = resolve_link(name, entry.link)
            return None
        if entry.kind != "file":
            raise InvalidArgument(
                f'archive entry "{name}" is neither a file nor a directory: '
                "invalid argument"
            )
        if name in DESCRIBING:
            if entry.size > self._config.max_json:
                raise ResourceExhausted(
                    f'archive entry "{name}" has {entry.size} bytes, over the limit of '
                    f"{self._config.max_json} (max_json): resource exhausted"
                )
            return _Described(name, self._archive)
        return _Ingested(
            name, entry.size, digest, self._archive, self._backends, self._reporter,
            f"{self._ref}-{name}",
        )  # fmt: skip


class _File(Protocol):
    """A file while it is received."""

    async def write(self, chunk: memoryview) -> None: ...

    async def close(self) -> None: ...

    async def abort(self) -> None:
        """Leave nothing behind; called once, instead of `close`."""
        ...


class _Described:
    """A small file that is kept in memory."""

    def __init__(self, name: str, archive: Archive) -> None:
        self._name = name
        self._archive = archive
        self._data = bytearray()

    async def write(self, chunk: memoryview) -> None:
        self._data += chunk

    async def close(self) -> None:
        self._archive.describing[self._name] = bytes(self._data)

    async def abort(self) -> None:
        self._data.clear()


class _Ingested:
    """A file that goes into the content store."""

    def __init__(
        self,
        name: str,
        size: int,
        expected: str | None,
        archive: Archive,
        backends: Backends,
        reporter: Reporter,
        ref: str,
    ) -> None:
        self._name = name
        self._size = size
        self._expected = expected or ""
        self._archive = archive
        self._content = backends.content
        self._chunk_size = backends.config.chunk_size
        self._reporter = reporter
        self._ref = ref
        self._pending = bytearray()
        self._head = b""
        self._offset = 0
        self._hash = None if expected else hashlib.sha256()
        self._exists = False

    async def write(self, chunk: memoryview) -> None:
        if len(self._head) < HEAD:
            self._head += bytes(chunk[: HEAD - len(self._head)])
        if self._hash is not None:
            self._hash.update(chunk)
        if self._exists:
            return
        self._pending += chunk
        if len(self._pending) >= self._chunk_size:
            await self._flush()

    async def _flush(self) -> None:
        try:
            await self._content.write(
                ref=self._ref,
                action="write",
                offset=self._offset,
                data=bytes(self._pending),
                total=self._size,
                expected=self._expected,
            )
        except AlreadyExists:
            self._exists = True
        self._offset += len(self._pending)
        self._pending.clear()
        self._reporter.set("importing", self._label, self._offset, self._size)

    async def close(self) -> None:
        if not self._exists:
            try:
                await self._content.write(
                    ref=self._ref,
                    action="commit",
                    offset=self._offset,
                    data=bytes(self._pending),
                    total=self._size,
                    expected=self._digest,
                )
            except AlreadyExists:
                self._exists = True
            except FailedPrecondition as error:
                await self.abort()
                raise DataLoss(
                    f'archive entry "{self._name}" does not match its name: {error}'
                ) from error
        self._archive.blobs[self._name] = Blob(self._digest, self._size, self._head)
        event = "already exists" if self._exists else "imported"
        self._reporter.set(event, self._label, self._size, self._size)

    async def abort(self) -> None:
        # The first error is the one to report, and the lease lets go of what stays.
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 5):
            try:
                await self._content.abort(ref=self._ref)
            except NotFound:
                pass  # nothing was written yet
            except PluggdError as error:
                self._reporter.set(f"abort failed: {error}", self._label)

    @property
    def _digest(self) -> str:
        if self._hash is not None:
            return f"sha256:{self._hash.hexdigest()}"
        return self._expected

    @property
    def _label(self) -> str:
        return self._expected or self._name
