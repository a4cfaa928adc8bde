# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The name of the store as an object beside its blobs (`pluggd.contents.identity`), and
that nothing is done in a bucket before it is known to be this store's."""

from __future__ import annotations

import trio

from pluggd.contents.identity import check_identity, strangers
from pluggd.services.metadata import Metadata

from .bucket import Bucket, Missing

_KEY = "id"


class ObjectMark:
    """A `Mark` of a prefix in a bucket."""

    way_out = "choose another prefix"

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self.place = bucket.place
        self.where = bucket.where

    async def read(self) -> str | None:
        try:
            return (await self._bucket.text(_KEY)).strip()
        except Missing:
            return None

    async def write(self, name: str) -> None:
        # Two new stores may be here at once; both look at what came of it.
        await self._bucket.create(_KEY, f"{name}\n".encode())
        if await self.read() != name:
            raise strangers(self, "came second to them")

    async def is_empty(self) -> bool:
        return not await self._bucket.list("blobs")


class Identity:
    """Checked once, as soon as the bucket can be reached."""

    def __init__(self, metadata: Metadata, mark: ObjectMark) -> None:
        self._metadata = metadata
        self._mark = mark
        self._lock = trio.Lock()
        self._known = False

    async def check(self) -> None:
        """Raises Unavailable, FailedPrecondition for a bucket of others."""
        if self._known:
            return
        async with self._lock:
            if not self._known:
                await check_identity(self._metadata, self._mark)
                self._known = True

    async def reach(self) -> None:
        """Ask the bucket for the mark, whatever is known. Raises Unavailable."""
        await self.check()
        await self._mark.read()
