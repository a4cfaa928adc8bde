# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Blobs as files: `pluggd.contents.blobs.Blobs` over the directory `blobs`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import trio
import trio.from_thread

from pluggd.contents.blobs import BlobMissing, Stranger
from pluggd.contents.files import disk_error, failing_as, hash_descriptor
from pluggd.errors import DataLoss
from pluggd.model.digests import split_digest
from pluggd.services.fsck import Problem

from .disk import Disk

INLINE_READ = 1 << 20
"""Up to here (some 160 microseconds, of which sending it takes as many) what the page
cache has is copied on the spot: a thread costs two to three times that."""


class Scratch:
    """Room to read into, for what does not wait meanwhile; it is made once."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def cached(self, fd: int, offset: int, size: int) -> bytes | None:
        """Bytes of a file that need no disk; None when there are fewer, or they do."""
        if size > len(self._buffer):
            self._buffer = bytearray(size)
        with memoryview(self._buffer)[:size] as view:
            try:
                count = os.preadv(fd, [view], offset, os.RWF_NOWAIT)
            except OSError:
                return None  # not in the page cache, or the file system cannot tell
            return bytes(view) if count == size else None


class OpenFileBlob:
    """A descriptor of a blob's file."""

    def __init__(self, disk: Disk, digest: str, fd: int, scratch: Scratch) -> None:
        self._disk = disk
        self._digest = digest
        self._fd = fd
        self._scratch = scratch

    async def piece(self, offset: int, size: int, more: int = 0) -> bytes:
        fd = self._fd
        if size <= INLINE_READ:
            found = self._scratch.cached(fd, offset, size)
            if found is not None:
                return found

        def work() -> bytes:
            with failing_as("read content"):
                return os.pread(fd, size, offset)

        return await trio.to_thread.run_sync(work)

    async def digest(self) -> str:
        def work() -> str:
            with failing_as(f"read content {self._digest}"):
                return hash_descriptor(
                    self._fd,
                    split_digest(self._digest)[0],
                    trio.from_thread.check_cancelled,
                )

        return await trio.to_thread.run_sync(work)

    async def descriptor(self) -> int:
        return os.dup(self._fd)

    async def is_current(self) -> bool:
        try:
            inode = os.stat(self._disk.blob_path(self._digest)).st_ino
        except FileNotFoundError:
            return False
        return inode == os.fstat(self._fd).st_ino

    def close(self) -> None:
        os.close(self._fd)


class FileBlobs:
    """The blobs of one `Disk`."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._scratch = Scratch()

    def path(self, digest: str) -> str:
        return self._disk.blob_path(digest)

    async def open(self, digest: str, size: int | None) -> OpenFileBlob:
        try:
            fd = self._disk.open_blob(digest)
        except FileNotFoundError:
            raise BlobMissing("its file is missing") from None
        except OSError as error:
            raise disk_error(error, f"open content {digest}") from error
        found = os.fstat(fd).st_size
        if size not in (None, found):
            os.close(fd)
            raise DataLoss(f"content {digest}: has {found} of {size} bytes: data loss")
        return OpenFileBlob(self._disk, digest, fd, self._scratch)

    async def size(self, digest: str) -> int | None:
        return self._disk.blob_size(digest)

    async def put(self, digest: str, data: bytes, *, known: bool) -> None:
        await trio.to_thread.run_sync(
            partial(self._disk.put, digest, data, known=known)
        )

    async def publish(self, digest: str, file: str, size: int) -> bool:
        await trio.to_thread.run_sync(self._disk.publish, file, digest)
        return True

    async def withdraw(self, digest: str, file: str) -> None:
        await trio.to_thread.run_sync(self._disk.withdraw, digest, file)

    async def copy(self, digest: str, size: int, file: str) -> None:
        await trio.to_thread.run_sync(self._disk.copy_blob, digest, file)

    async def remove(self, digests: Sequence[str]) -> int:
        return await trio.to_thread.run_sync(
            lambda: sum(self._disk.remove_blob(digest) for digest in digests)
        )

    # --- what there is

    async def digests(self) -> list[str]:
        return await trio.to_thread.run_sync(lambda: [*self._disk.list_blobs()])

    async def strangers(self) -> list[Stranger]:
        def work() -> list[Stranger]:
            found = [(path, _size(path)) for path in self._disk.list_strangers()]
            return [
                Stranger(path, size, directory=os.path.isdir(path))
                for path, size in found
                if size is not None
            ]

        return await trio.to_thread.run_sync(work)

    async def remove_stranger(self, path: str) -> bool:
        return await trio.to_thread.run_sync(_unlink, path)

    async def problems(
        self, recorded: Iterable[tuple[str, int]], *, deep: bool
    ) -> Mapping[str, tuple[Problem, str]]:
        def work() -> dict[str, tuple[Problem, str]]:
            found = {one: self._problem(one, size, deep) for one, size in recorded}
            return {digest: problem for digest, problem in found.items() if problem}

        return await trio.to_thread.run_sync(work)

    def _problem(
        self, digest: str, size: int, deep: bool
    ) -> tuple[Problem, str] | None:
        """In a thread."""
        try:
            fd = self._disk.open_blob(digest)
        except FileNotFoundError:
            return "missing", "recorded, and its file is gone"
        except OSError as error:
            return "damaged", f"its file cannot be opened: {_reason(error)}"
        try:
            found = os.fstat(fd).st_size
            if found != size:
                return "size", f"{size} bytes are recorded, {found} are there"
            if not deep:
                return None
            algorithm = split_digest(digest)[0]
            actual = hash_descriptor(fd, algorithm, trio.from_thread.check_cancelled)
            if actual != digest:
                return "digest", f"its bytes have the digest {actual}"
        except OSError as error:
            return "damaged", f"its bytes cannot be read: {_reason(error)}"
        finally:
            os.close(fd)
        return None


def _size(path: str) -> int | None:
    """None for what is not there."""
    try:
        return os.lstat(path).st_size
    except FileNotFoundError:
        return None


def _unlink(path: str) -> bool:
    """Whether it is gone. A directory is left to its owner."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return True
    except (IsADirectoryError, PermissionError):
        return False
    return True


def _reason(error: OSError) -> str:
    return os.strerror(error.errno or 0).lower()
