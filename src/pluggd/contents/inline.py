# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Small blobs, which have no file: their bytes are part of their record.

Most blobs of an image are a config and manifests of a few kB. As files, each costs an inode, two
syncs and a thread; in its record it costs a page of a commit that is made anyway, and comes
and goes with it. `Catalog` puts and removes them; here they are read, in front of the
place where all others lie.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import trio

from pluggd.contents.blobs import Blobs, OpenBlob, Stranger
from pluggd.contents.catalog import find_file
from pluggd.contents.files import failing_as, write_all
from pluggd.contents.options import MAX_INLINE
from pluggd.contents.rules import digest_of
from pluggd.contents.spool import Spool
from pluggd.errors import DataLoss
from pluggd.model.digests import split_digest
from pluggd.services.fsck import Problem
from pluggd.services.metadata import Metadata, View

_SEALS = (
    fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
)


class OpenInline:
    """The bytes of a small blob, read."""

    def __init__(self, blobs: Inlined, digest: str, data: bytes) -> None:
        self._blobs = blobs
        self._digest = digest
        self._data = data

    async def piece(self, offset: int, size: int, more: int = 0) -> bytes:
        return self._data[offset : offset + size]

    async def digest(self) -> str:
        return digest_of(split_digest(self._digest)[0], self._data)

    async def descriptor(self) -> int:
        """Of a file in memory, which nobody can change."""
        flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
        with failing_as(f"open content {self._digest}"):
            written = os.memfd_create(self._digest, flags)
            try:
                write_all(written, self._data, 0)
                fcntl.fcntl(written, fcntl.F_ADD_SEALS, _SEALS)
                return os.open(f"/proc/self/fd/{written}", os.O_RDONLY | os.O_CLOEXEC)
            finally:
                os.close(written)

    async def is_current(self) -> bool:
        return self._blobs.find(self._digest) == self._data

    def close(self) -> None:
        pass


class Inlined:
    """`Blobs` of which small ones are in the metadata store, and all others in `below`.

    What comes through `put` and `publish` goes below: whoever calls them has seen that the
    blob is not here.
    """

    def __init__(self, metadata: Metadata, spool: Spool, below: Blobs) -> None:
        self._metadata = metadata
        self._spool = spool
        self._below = below

    def find(self, digest: str) -> bytes | None:
        """The bytes of a small blob; None if it is none."""
        return self._metadata.read(lambda view: _inline(view, digest))

    def path(self, digest: str) -> str:
        return self._below.path(digest) if self.find(digest) is None else ""

    async def open(self, digest: str, size: int | None) -> OpenBlob:
        data = self.find(digest) if size is None or size <= MAX_INLINE else None
        if data is None:
            return await self._below.open(digest, size)
        if size not in (None, len(data)):
            raise DataLoss(
                f"content {digest}: has {len(data)} of {size} bytes: data loss"
            )
        return OpenInline(self, digest, data)

    async def size(self, digest: str) -> int | None:
        data = self.find(digest)
        return await self._below.size(digest) if data is None else len(data)

    async def put(self, digest: str, data: bytes, *, known: bool) -> None:
        await self._below.put(digest, data, known=known)

    async def publish(self, digest: str, file: str, size: int) -> bool:
        return await self._below.publish(digest, file, size)

    async def withdraw(self, digest: str, file: str) -> None:
        await self._below.withdraw(digest, file)

    async def copy(self, digest: str, size: int, file: str) -> None:
        data = self.find(digest)
        if data is None:
            await self._below.copy(digest, size, file)
        else:
            await trio.to_thread.run_sync(self._spool.write_ingest, file, data)

    async def remove(self, digests: Sequence[str]) -> int:
        return await self._below.remove(digests)

    # --- what there is

    async def digests(self) -> list[str]:
        return await self._below.digests()

    async def strangers(self) -> list[Stranger]:
        return await self._below.strangers()

    async def remove_stranger(self, path: str) -> bool:
        return await self._below.remove_stranger(path)

    async def problems(
        self, recorded: Iterable[tuple[str, int]], *, deep: bool
    ) -> Mapping[str, tuple[Problem, str]]:
        recorded = list(recorded)
        small = await self._metadata.view(partial(_small, recorded=recorded))
        elsewhere = [one for one in recorded if one[0] not in small]
        found = dict(await self._below.problems(elsewhere, deep=deep))
        for digest, size in recorded:
            if digest in small:
                await trio.lowlevel.checkpoint()
                problem = self._problem(digest, size, deep)
                if problem is not None:
                    found[digest] = problem
        return found

    def _problem(
        self, digest: str, size: int, deep: bool
    ) -> tuple[Problem, str] | None:
        data = self.find(digest)
        if data is None:
            return None  # removed meanwhile
        if len(data) != size:
            return "size", f"{size} bytes are recorded, {len(data)} are there"
        actual = digest_of(split_digest(digest)[0], data) if deep else digest
        if actual != digest:
            return "digest", f"its bytes have the digest {actual}"
        return None


def _small(view: View, recorded: Sequence[tuple[str, int]]) -> set[str]:
    return {
        digest
        for digest, size in recorded
        if size <= MAX_INLINE and _inline(view, digest) is not None
    }


def _inline(view: View, digest: str) -> bytes | None:
    file = find_file(view, digest)
    return None if file is None else file.data
