# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Bytes of blobs: by message, as a stream, by descriptor, and whether they are good.

A namespace sees what it has a record of. A blob whose bytes are missing, has another size
or another digest than its name is DataLoss, and is remembered as damaged: nobody
gets it, nobody adopts it, and sending the blob again heals it for everybody.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing, contextmanager

from pluggd.contents.blobs import BlobMissing, Blobs, OpenBlob
from pluggd.contents.catalog import Catalog, find_blob, find_file, not_found
from pluggd.contents.locks import DigestGuards
from pluggd.errors import DataLoss, InvalidArgument, OutOfRange
from pluggd.model.digests import validate_digest
from pluggd.services.content import Chunk, Info, OpenedBlob
from pluggd.services.metadata import Metadata, View
from pluggd.services.rpc import Fd, Send


class Reader:
    """The half of the store that only looks at bytes."""

    def __init__(
        self,
        metadata: Metadata,
        blobs: Blobs,
        catalog: Catalog,
        guards: DigestGuards,
        *,
        chunk_size: int,
        verify_reads: bool,
    ) -> None:
        self._metadata = metadata
        self._blobs = blobs
        self._catalog = catalog
        self._guards = guards
        self._chunk_size = chunk_size
        self._verify_reads = verify_reads

    async def read(
        self, namespace: str, *, digest: str, offset: int, size: int, verify: bool
    ) -> Chunk:
        with (
            self._found(namespace, digest) as info,
            closing(await self._blobs.open(digest, info.size)) as blob,
        ):
            start, length = bounds(info, offset, size)
            if verify or self._verify_reads:
                await self._check(info, blob)
            data = await blob.piece(start, min(length, self._chunk_size))
            return Chunk(offset=start, data=data)

    async def fetch(
        self, namespace: str, *, digest: str, offset: int, size: int, out: Send[bytes]
    ) -> None:
        with (
            self._found(namespace, digest) as info,
            closing(await self._blobs.open(digest, info.size)) as blob,
        ):
            start, length = bounds(info, offset, size)
            if self._verify_reads:
                await self._check(info, blob)
            while length:
                count = min(length, self._chunk_size)
                data = await blob.piece(start, count, length - count)
                if not data:
                    raise DataLoss(
                        f"content {digest}: ends at {start} of {info.size} bytes: "
                        f"data loss"
                    )
                await out.send(data)
                start += len(data)
                length -= len(data)

    async def open(self, namespace: str, *, digest: str, verify: bool) -> OpenedBlob:
        with (
            self._found(namespace, digest) as info,
            closing(await self._blobs.open(digest, info.size)) as blob,
        ):
            if verify or self._verify_reads:
                await self._check(info, blob)
            return OpenedBlob(info=info, fd=Fd(await blob.descriptor()))

    async def verify(self, namespace: str, *, digest: str) -> Info:
        info = self._find(namespace, digest, damaged=True)
        try:
            with closing(await self._blobs.open(digest, None)) as blob:
                await self._check(info, blob)
        except BlobMissing as error:
            self._find(namespace, digest, damaged=True)
            await self._remember(digest, None)
            raise DataLoss(
                f"content {digest}: {error}; send it again to heal it: data loss"
            ) from error
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
    def _found(self, namespace: str, digest: str) -> Generator[Info]:
        """The blob, for a block in which its bytes may turn out to be missing."""
        info = self._find(namespace, digest)
        try:
            yield info
        except BlobMissing as error:
            # Gone since the record was read, or lost: a second look tells.
            self._find(namespace, digest)
            raise DataLoss(f"content {digest}: {error}: data loss") from None

    async def _check(self, info: Info, blob: OpenBlob) -> None:
        """Raises DataLoss when the bytes have another digest, after remembering it."""
        try:
            found = await blob.digest()
        except DataLoss:
            await self._remember(info.digest, blob)
            raise
        if found != info.digest:
            await self._remember(info.digest, blob)
            raise DataLoss(
                f"content {info.digest}: the bytes on disk have the digest {found}; "
                f"send it again to heal it: data loss"
            )

    async def _remember(self, digest: str, blob: OpenBlob | None) -> None:
        """Mark the blob as damaged, unless it was replaced meanwhile."""
        async with self._guards.holding([digest]):
            if blob is None:
                same = await self._blobs.size(digest) is None
            else:
                same = await blob.is_current()
            if same:
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
