# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How bytes become a blob: put them in place, then record it, and leave nothing half-done.

The guard of the digest is held from the look at what is in place until the record is
committed, so the removal of bytes that nobody named a moment ago cannot come in
between. Once the bytes are in place a cancelled caller waits until it is whole.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from functools import partial

import trio

from pluggd.contents.blobs import Blobs
from pluggd.contents.catalog import Catalog, find_file
from pluggd.contents.locks import DigestGuards
from pluggd.contents.spool import Spool
from pluggd.errors import AlreadyExists, PluggdError
from pluggd.services.content import Info
from pluggd.services.metadata import Metadata


def already_exists(digest: str) -> AlreadyExists:
    return AlreadyExists(f"content {digest}: already exists")


@contextmanager
def _noting(first: PluggdError) -> Generator[None]:
    """The caller is told why the record failed, also when the bytes could not be taken
    back; those are found by the next reconciliation."""
    try:
        yield
    except PluggdError as second:
        first.add_note(f"and its bytes could not be taken back: {second}")


class Placer:
    """Puts blobs in place and records them."""

    def __init__(
        self,
        metadata: Metadata,
        spool: Spool,
        blobs: Blobs,
        catalog: Catalog,
        guards: DigestGuards,
        *,
        max_inline: int,
    ) -> None:
        self._max_inline = max_inline
        self._metadata = metadata
        self._spool = spool
        self._blobs = blobs
        self._catalog = catalog
        self._guards = guards

    async def place_data(
        self,
        namespace: str,
        ref: str,
        data: bytes,
        digest: str,
        labels: dict[str, str],
    ) -> Info:
        """Make a blob of bytes in memory, in one transaction."""
        info = None
        if self._goes_inline(digest, len(data)):
            info = await self._record(
                namespace, ref, digest, len(data), labels, fresh=False, data=data
            )
            if info is None:
                raise already_exists(digest)
            return info
        async with self._guards.holding([digest]):
            fresh = not await self._is_in_place(digest, len(data))
            if fresh:
                known = not self._is_unknown(digest)
                await self._blobs.put(digest, data, known=known)
            with trio.CancelScope(shield=True):
                try:
                    info = await self._record(
                        namespace, ref, digest, len(data), labels, fresh=fresh
                    )
                except PluggdError as error:
                    if fresh and self._is_unknown(digest):
                        with _noting(error):
                            await self._blobs.remove([digest])
                    raise
        if info is None:
            raise already_exists(digest)
        return info

    async def place_file(
        self,
        namespace: str,
        ref: str,
        file: str,
        size: int,
        digest: str,
        labels: dict[str, str],
    ) -> Info:
        """Make a blob of an ingest's durable file; on failure the file is back."""
        info = None
        async with self._guards.holding([digest]):
            fresh = not await self._is_in_place(digest, size)
            taken = fresh and await self._blobs.publish(digest, file, size)
            with trio.CancelScope(shield=True):
                try:
                    info = await self._record(
                        namespace, ref, digest, size, labels, fresh=fresh
                    )
                except PluggdError as error:
                    if fresh and self._is_unknown(digest):
                        with _noting(error):
                            await self._blobs.withdraw(digest, file)
                    raise
                if not taken:
                    await trio.to_thread.run_sync(self._spool.remove_ingest, file)
        if info is None:
            raise already_exists(digest)
        return info

    async def place_shared(
        self, namespace: str, ref: str, size: int, digest: str, labels: dict[str, str]
    ) -> Info:
        """Record a blob whose bytes a shared ingest references."""
        info = await self._record(namespace, ref, digest, size, labels, fresh=False)
        if info is None:
            raise already_exists(digest)
        return info

    async def _record(
        self,
        namespace: str,
        ref: str,
        digest: str,
        size: int,
        labels: dict[str, str],
        *,
        fresh: bool,
        data: bytes | None = None,
    ) -> Info | None:
        return await self._metadata.update(
            partial(
                self._catalog.commit,
                namespace=namespace,
                ref=ref,
                digest=digest,
                size=size,
                labels=labels,
                fresh=fresh,
                data=data,
            )
        )

    def _goes_inline(self, digest: str, size: int) -> bool:
        """Whether the bytes are put beside the record: they are few, and are not in
        another place; or they are there already, sound or to be healed."""
        file = self._metadata.read(lambda view: find_file(view, digest))
        return size <= self._max_inline if file is None else file.data is not None

    async def _is_in_place(self, digest: str, size: int) -> bool:
        """Whether these bytes are in place already and known to be good."""
        file = self._metadata.read(lambda view: find_file(view, digest))
        if file is None or file.damaged:
            return False
        return await self._blobs.size(digest) == size

    def _is_unknown(self, digest: str) -> bool:
        return self._metadata.read(lambda view: find_file(view, digest)) is None
