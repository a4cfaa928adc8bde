# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Blobs as objects: `pluggd.contents.blobs.Blobs` over `blobs/<algorithm>/<hex>`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence

import trio

from pluggd.contents.blobs import BlobMissing, Stranger
from pluggd.contents.files import failing_as
from pluggd.contents.spool import Spool
from pluggd.errors import DataLoss, Unavailable
from pluggd.model.digests import HEX_LENGTH, split_digest
from pluggd.services.fsck import Problem

from .bucket import Bucket, Missing, Object
from .mark import Identity
from .opened import OpenObject

_hex = re.compile("[0-9a-f]+")
_ROOT = "blobs"


class ObjectBlobs:
    """The blobs below one prefix. Nothing is asked of a bucket that is not this store's."""

    def __init__(self, bucket: Bucket, identity: Identity, spool: Spool) -> None:
        self._bucket = bucket
        self._identity = identity
        self._spool = spool

    def path(self, digest: str) -> str:
        return f"{self._bucket.place}/{key_of(digest)}"

    async def open(self, digest: str, size: int | None) -> OpenObject:
        await self._identity.check()
        directory = os.path.dirname(self._spool.ingest_path("x"))
        return OpenObject(self._bucket, key_of(digest), digest, size, directory)

    async def size(self, digest: str) -> int | None:
        await self._identity.check()
        try:
            return (await self._bucket.head(key_of(digest))).size
        except Missing:
            return None

    async def put(self, digest: str, data: bytes, *, known: bool) -> None:
        await self._identity.check()
        await self._bucket.put(key_of(digest), data)

    async def publish(self, digest: str, file: str, size: int) -> bool:
        await self._identity.check()
        path, key = self._spool.ingest_path(file), key_of(digest)
        if size <= self._bucket.part_size:
            await self._bucket.put(key, await trio.to_thread.run_sync(_read, path))
            return False
        await self._bucket.upload(key, path, size)
        found = (await self._bucket.head(key)).size
        if found != size:
            await self._bucket.delete([key])
            raise Unavailable(
                f"{self.path(digest)}: has {found} of {size} bytes after its upload; "
                f"commit again: unavailable"
            )
        return False

    async def withdraw(self, digest: str, file: str) -> None:
        await self._bucket.delete([key_of(digest)])

    async def copy(self, digest: str, size: int, file: str) -> None:
        with failing_as(f"copy {digest} to {self._spool.ingest_path(file)}"):
            fd = await trio.to_thread.run_sync(self._spool.open_ingest, file)
            try:
                blob = await self.open(digest, size)
                await blob.copy_to(fd)
            except BlobMissing as error:
                raise DataLoss(f"content {digest}: {error}: data loss") from None
            finally:
                os.close(fd)

    async def remove(self, digests: Sequence[str]) -> int:
        found = await self._sizes(digests)
        await self._bucket.delete([key_of(digest) for digest in found])
        return sum(found.values())

    # --- what there is

    async def digests(self) -> list[str]:
        await self._identity.check()
        listed = [digest_of(one) for one in await self._bucket.list(_ROOT)]
        return [digest for digest in listed if digest is not None]

    async def strangers(self) -> list[Stranger]:
        await self._identity.check()
        return [
            Stranger(f"{self._bucket.place}/{one.key}", one.size)
            for one in await self._bucket.list(_ROOT)
            if digest_of(one) is None
        ]

    async def remove_stranger(self, path: str) -> bool:
        await self._bucket.delete([path.removeprefix(f"{self._bucket.place}/")])
        return True

    async def problems(
        self, recorded: Iterable[tuple[str, int]], *, deep: bool
    ) -> Mapping[str, tuple[Problem, str]]:
        # A head cannot tell a missing object from a missing bucket.
        await self._identity.reach()
        recorded = list(recorded)
        sizes = await self._sizes([digest for digest, _ in recorded])
        found: dict[str, tuple[Problem, str]] = {}
        for digest, size in recorded:
            actual = sizes.get(digest)
            if actual is None:
                found[digest] = "missing", "recorded, and its object is gone"
            elif actual != size:
                found[digest] = "size", f"{size} bytes are recorded, {actual} are there"
            elif deep and (named := await self._digest(digest)) != digest:
                found[digest] = "digest", f"its bytes have the digest {named}"
        return found

    async def _digest(self, digest: str) -> str:
        try:
            return await (await self.open(digest, None)).digest()
        except BlobMissing as error:
            return str(error)

    async def _sizes(self, digests: Iterable[str]) -> dict[str, int]:
        """Of those that are there, asked for at once."""
        found: dict[str, int] = {}

        async def look(digest: str) -> None:
            size = await self.size(digest)
            if size is not None:
                found[digest] = size

        failed: list[Unavailable] = []

        async def look_or_fail(digest: str) -> None:
            try:
                await look(digest)
            except Unavailable as error:
                failed.append(error)

        async with trio.open_nursery() as nursery:
            for digest in digests:
                nursery.start_soon(look_or_fail, digest)
        if failed:
            raise failed[0]
        return found


def key_of(digest: str) -> str:
    algorithm, value = split_digest(digest)
    return f"{_ROOT}/{algorithm}/{value}"


def digest_of(one: Object) -> str | None:
    """None for what is not named like a blob."""
    match one.key.split("/"):
        case [root, algorithm, value] if (
            root == _ROOT
            and len(value) == HEX_LENGTH.get(algorithm)
            and _hex.fullmatch(value)
        ):
            return f"{algorithm}:{value}"
        case _:
            return None


def _read(path: str) -> bytes:
    with failing_as(f"read {path}"), open(path, "rb") as stream:
        return stream.read()
