# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Bytes of blobs: by message, as a stream, by descriptor, and whether they are good.

A namespace sees what it has a record of. A file that is missing, has another size
or another digest than its name is DataLoss, and is remembered as damaged: nobody
gets it, nobody adopts it, and sending the blob again heals it for everybody.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager

import trio
import trio.from_thread

from pluggd.errors import DataLoss, InvalidArgument, OutOfRange
from pluggd.model.digests import split_digest, validate_digest
from pluggd.services.content import Chunk, Info, OpenedBlob
from pluggd.services.metadata import Metadata, View
from pluggd.services.rpc import Fd, Send
from plugins.content.catalog import Catalog, find_blob, find_file, not_found
from plugins.content.disk import Disk, disk_error, failing_as, hash_descriptor
from plugins.content.locks import DigestGuards

INLINE_READ = 1 << 17
"""Up to here (some 20 microseconds) what the page cache has is copied on the spot."""


class Reader:
    """The half of the store that only looks at bytes."""

    def __init__(
        self,
        metadata: Metadata,
        disk: Disk,
        catalog: Catalog,
        guards: DigestGuards,
        *,
        chunk_size: int,
        verify_reads: bool,
    ) -> None:
        self._metadata = metadata
        self._disk = disk
        self._catalog = catalog
        self._guards = guards
        self._chunk_size = chunk_size
        self._verify_reads = verify_reads

    async def read(
        self, namespace: str, *, digest: str, offset: int, size: int, verify: bool
    ) -> Chunk:
        with self._opened(namespace, digest) as (info, fd):
            start, length = bounds(info, offset, size)
            if verify or self._verify_reads:
                await self._check(info, fd)
            data = await self._piece(fd, start, min(length, self._chunk_size))
            return Chunk(offset=start, data=data)

    async def fetch(
        self, namespace: str, *, digest: str, offset: int, size: int, out: Send[bytes]
    ) -> None:
        with self._opened(namespace, digest) as (info, fd):
            start, length = bounds(info, offset, size)
            if self._verify_reads:
                await self._check(info, fd)
            while length:
                data = await self._piece(fd, start, min(length, self._chunk_size))
                if not data:
                    raise DataLoss(
                        f"content {digest}: ends at {start} of {info.size} bytes: data loss"
                    )
                await out.send(data)
                start += len(data)
                length -= len(data)

    async def open(self, namespace: str, *, digest: str, verify: bool) -> OpenedBlob:
        with self._opened(namespace, digest) as (info, fd):
            if verify or self._verify_reads:
                await self._check(info, fd)
            return OpenedBlob(info=info, fd=Fd(os.dup(fd)))

    async def verify(self, namespace: str, *, digest: str) -> Info:
        info = self._find(namespace, digest, damaged=True)
        try:
            fd = self._disk.open_blob(digest)
        except OSError as error:
            return await self._unreadable(namespace, info, error)
        try:
            await self._check(info, fd)
        finally:
            os.close(fd)
        return info

    # --- inside

    def _find(self, namespace: str, digest: str, *, damaged: bool = False) -> Info:
        """damaged: also return one that is known to be damaged."""
        validate_digest(digest)

        def look(view: View) -> Info:
            info = find_blob(view, namespace, digest)
            if info is None:
                raise not_found(digest)
            file = find_file(view, digest)
            if not damaged and (file is None or file.damaged):
                raise DataLoss(
                    f"content {digest} is damaged; send it again to heal it: data loss"
                )
            return info

        return self._metadata.read(look)

    @contextmanager
    def _opened(self, namespace: str, digest: str) -> Generator[tuple[Info, int]]:
        info = self._find(namespace, digest)
        try:
            fd = self._disk.open_blob(digest)
        except FileNotFoundError:
            # Gone since the record was read, or lost: a second look tells.
            self._find(namespace, digest)
            raise DataLoss(
                f"content {digest}: its file is missing: data loss"
            ) from None
        except OSError as error:
            raise disk_error(error, f"open content {digest}") from error
        try:
            found = os.fstat(fd).st_size
            if found != info.size:
                raise DataLoss(
                    f"content {digest}: has {found} of {info.size} bytes: data loss"
                )
            yield info, fd
        finally:
            os.close(fd)

    async def _piece(self, fd: int, offset: int, size: int) -> bytes:
        if size <= INLINE_READ:
            buffer = bytearray(size)
            try:
                count = os.preadv(fd, [buffer], offset, os.RWF_NOWAIT)
            except OSError:
                count = -1  # not in the page cache, or the file system cannot tell
            if count == size:
                return bytes(buffer)

        def work() -> bytes:
            with failing_as("read content"):
                return os.pread(fd, size, offset)

        return await trio.to_thread.run_sync(work)

    async def _check(self, info: Info, fd: int) -> None:
        """Raises DataLoss when the bytes have another digest, after remembering it."""

        def work() -> str:
            with failing_as(f"read content {info.digest}"):
                return hash_descriptor(
                    fd, split_digest(info.digest)[0], trio.from_thread.check_cancelled
                )

        try:
            found = await trio.to_thread.run_sync(work)
        except DataLoss:
            await self._remember(info.digest, fd)
            raise
        if found != info.digest:
            await self._remember(info.digest, fd)
            raise DataLoss(
                f"content {info.digest}: the bytes on disk have the digest {found}; "
                f"send it again to heal it: data loss"
            )

    async def _unreadable(self, namespace: str, info: Info, error: OSError) -> Info:
        self._find(namespace, info.digest, damaged=True)
        await self._remember(info.digest, None)
        raise DataLoss(
            f"content {info.digest}: {os.strerror(error.errno or 0).lower()}; "
            f"send it again to heal it: data loss"
        ) from error

    async def _remember(self, digest: str, fd: int | None) -> None:
        """Mark the blob as damaged, unless it was replaced meanwhile."""
        async with self._guards.holding([digest]):
            try:
                inode = os.stat(self._disk.blob_path(digest)).st_ino
            except FileNotFoundError:
                inode = 0
            if inode == (os.fstat(fd).st_ino if fd is not None else 0):
                await self._metadata.update(
                    lambda txn: self._catalog.mark_damaged(txn, digest), reclaim=True
                )


def bounds(info: Info, offset: int, size: int) -> tuple[int, int]:
    """Start and length of what is asked for. Raises InvalidArgument, OutOfRange."""
    if offset < 0:
        raise InvalidArgument(f"offset {offset} must not be negative: invalid argument")
    if size < 0:
        raise InvalidArgument(f"size {size} must not be negative: invalid argument")
    if offset > info.size:
        raise OutOfRange(f"read past object length {info.size} bytes")
    rest = info.size - offset
    return offset, min(size, rest) if size else rest
