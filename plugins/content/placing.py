# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How bytes become a blob: place the file, then record it, and leave nothing half-done.

The guard of the digest is held from the look at what is on disk until the record is
committed, so the removal of a file that nobody named a moment ago cannot come in
between. From the rename on a cancelled caller waits until it is whole.
"""

from __future__ import annotations

from functools import partial

import trio

from pluggd.errors import AlreadyExists, PluggdError
from pluggd.services.content import Info
from pluggd.services.metadata import Metadata
from plugins.content.catalog import Catalog, find_file
from plugins.content.disk import Disk
from plugins.content.locks import DigestGuards


def already_exists(digest: str) -> AlreadyExists:
    return AlreadyExists(f"content {digest}: already exists")


class Placer:
    """Puts blobs in place and records them."""

    def __init__(
        self, metadata: Metadata, disk: Disk, catalog: Catalog, guards: DigestGuards
    ) -> None:
        self._metadata = metadata
        self._disk = disk
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
        """Make a blob of bytes in memory, in one thread job and one transaction."""
        info = None
        async with self._guards.holding([digest]):
            with trio.CancelScope(shield=True):
                file = ""
                if not self._is_on_disk(digest, len(data)):
                    file = await trio.to_thread.run_sync(self._write, data, digest)
                try:
                    info = await self._record(
                        namespace, ref, digest, len(data), labels, fresh=bool(file)
                    )
                except PluggdError:
                    if file and self._is_unknown(digest):
                        await trio.to_thread.run_sync(self._disk.remove_blob, digest)
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
            with trio.CancelScope(shield=True):
                moved = not self._is_on_disk(digest, size)
                if moved:
                    await trio.to_thread.run_sync(self._disk.publish, file, digest)
                try:
                    info = await self._record(
                        namespace, ref, digest, size, labels, fresh=moved
                    )
                except PluggdError:
                    if moved and self._is_unknown(digest):
                        await trio.to_thread.run_sync(self._disk.withdraw, digest, file)
                    raise
                if not moved:
                    await trio.to_thread.run_sync(self._disk.remove_ingest, file)
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
            )
        )

    def _is_on_disk(self, digest: str, size: int) -> bool:
        """Whether these bytes are in place already and known to be good."""
        file = self._metadata.read(lambda view: find_file(view, digest))
        if file is None or file.damaged:
            return False
        return self._disk.blob_size(digest) == size

    def _is_unknown(self, digest: str) -> bool:
        return self._metadata.read(lambda view: find_file(view, digest)) is None

    def _write(self, data: bytes, digest: str) -> str:
        file = self._disk.write_once(data)
        try:
            self._disk.publish(file, digest)
        except PluggdError:
            self._disk.remove_ingest(file)
            raise
        return file
