# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The bytes of one object, fetched in ranges of one request's worth."""

from __future__ import annotations

import hashlib
import os

import trio

from pluggd.contents.blobs import BlobMissing
from pluggd.contents.files import failing_as, write_all
from pluggd.errors import DataLoss
from pluggd.model.digests import split_digest

from .bucket import Bucket, Missing


class OpenObject:
    """An `OpenBlob`. It asks for nothing before it is read from."""

    def __init__(
        self, bucket: Bucket, key: str, digest: str, size: int | None, spool: str
    ) -> None:
        """spool: a directory for what is given away as a descriptor."""
        self._bucket = bucket
        self._key = key
        self._digest = digest
        self._size = size
        self._spool = spool
        self._etag = ""
        self._start = 0
        self._ahead = b""

    async def piece(self, offset: int, size: int, more: int = 0) -> bytes:
        if size == 0:
            return b""
        begin = offset - self._start
        if not 0 <= begin < len(self._ahead):
            wanted = max(size, min(size + more, self._bucket.part_size))
            self._ahead = await self._get(offset, wanted)
            self._start, begin = offset, 0
        return self._ahead[begin : begin + size]

    async def digest(self) -> str:
        hasher = hashlib.new(split_digest(self._digest)[0])
        size = await self._look()
        offset = 0
        while offset < size:
            data = await self._get(offset, self._bucket.part_size)
            await trio.to_thread.run_sync(hasher.update, data)
            offset += len(data)
        return f"{split_digest(self._digest)[0]}:{hasher.hexdigest()}"

    async def descriptor(self) -> int:
        """Of a copy without a name, which goes with the last descriptor."""
        fd = await trio.to_thread.run_sync(nameless_file, self._spool)
        try:
            await self.copy_to(fd)
            return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            os.close(fd)

    async def copy_to(self, fd: int) -> None:
        """Write all bytes to a file, from its start. Raises ResourceExhausted."""
        size = await self._look()
        if self._size not in (None, size):
            raise self._wrong_size(size)
        offset = 0
        while offset < size:
            data = await self._get(offset, self._bucket.part_size)

            def write(data: bytes = data, offset: int = offset) -> None:
                with failing_as(f"write a copy of {self._digest} to {self._spool}"):
                    write_all(fd, data, offset)

            await trio.to_thread.run_sync(write)
            offset += len(data)

    async def is_current(self) -> bool:
        try:
            return (await self._bucket.head(self._key)).etag == self._etag
        except Missing:
            return False

    def close(self) -> None:
        self._ahead = b""

    # --- inside

    async def _look(self) -> int:
        try:
            found = await self._bucket.head(self._key)
        except Missing:
            raise BlobMissing("its object is missing") from None
        self._etag = found.etag
        return found.size

    async def _get(self, offset: int, size: int) -> bytes:
        try:
            data, found = await self._bucket.get(self._key, offset, size)
        except Missing:
            raise BlobMissing("its object is missing") from None
        self._etag = self._etag or found.etag
        if self._size not in (None, found.size):
            raise self._wrong_size(found.size)
        if not data:
            raise DataLoss(f"content {self._digest}: ends at {offset}: data loss")
        return data

    def _wrong_size(self, found: int) -> DataLoss:
        return DataLoss(
            f"content {self._digest}: has {found} of {self._size} bytes: data loss"
        )


def nameless_file(directory: str) -> int:
    with failing_as(f"make a file in {directory}"):
        return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
