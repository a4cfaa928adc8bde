# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Files that nothing names any more: remove them, whenever and wherever a kill struck.

Two ways lead here. A trash record says that the last reference to a file is gone;
`cleanup` removes such files at the end of each collection. And a file may lie on the
disk without any record, because the daemon died between a rename and its commit;
`reconcile` looks for those once, in the background, after the start.

Whatever is to be removed is looked at again under its guard, so that a blob that is
committed anew at this moment stays.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice

import trio

from pluggd.contents.blobs import Blobs
from pluggd.contents.catalog import Catalog
from pluggd.contents.locks import DigestGuards, RefLocks
from pluggd.contents.openfiles import OpenFiles
from pluggd.contents.records import (
    FILES,
    INGEST_TRASH,
    INGESTS,
    TRASH,
    IngestRecord,
    TrashRecord,
)
from pluggd.contents.spool import Spool
from pluggd.errors import Unavailable
from pluggd.model.record import decode
from pluggd.services.metadata import Metadata, Transaction, View

BATCH = 256
"""Files that are removed under one set of guards and in one thread job."""

LOOKUPS = 1000
"""Records that are looked up between two checkpoints."""


class Cleaner:
    """Removes what is not needed; idempotent, and safe to kill at any point."""

    def __init__(
        self,
        metadata: Metadata,
        spool: Spool,
        blobs: Blobs,
        catalog: Catalog,
        guards: DigestGuards,
        locks: RefLocks,
        files: OpenFiles,
        log: logging.LoggerAdapter[logging.Logger],
    ) -> None:
        self._metadata = metadata
        self._spool = spool
        self._blobs = blobs
        self._catalog = catalog
        self._guards = guards
        self._locks = locks
        self._files = files
        self._log = log
        self._running = trio.Lock()

    async def cleanup(self) -> int:
        """Remove what all trash records name; the bytes freed, those of small blobs
        that went with their records included.

        Raises Unavailable when the place of the blobs cannot be reached, and all else is
        removed: their trash records stay, for the next time.
        """
        freed, self._catalog.freed = self._catalog.freed, 0
        # Whoever removes something at this moment has not forgotten it yet.
        if not self._metadata.read(partial(next_trash, after="")):
            return freed
        away: Unavailable | None = None
        async with self._running:
            after = ""
            while names := self._metadata.read(partial(next_trash, after=after)):
                after = names[-1]
                blobs = [name for name in names if not name.startswith(INGEST_TRASH)]
                try:
                    # It is asked once: each try may take until its timeout.
                    freed += await self._remove_blobs(blobs) if away is None else 0
                except Unavailable as error:
                    away = error
                freed += await self._remove_ingests(
                    [name for name in names if name.startswith(INGEST_TRASH)]
                )
        if away is not None:
            raise away
        return freed

    async def reconcile(self) -> None:
        """Remove what lies on the disk without a record."""
        freed = 0
        try:
            freed = await self.cleanup()
        except Unavailable as error:
            self._log.warning("what nobody needs any more is removed later: %s", error)
        found = await self._blobs.digests()
        for some in batched(found, LOOKUPS):
            for digests in batched(await self._without_record(some), BATCH):
                freed += await self._remove_blobs(digests)
        # Listed before the records are read: an ingest has its record before its file.
        files = await trio.to_thread.run_sync(self._spool.list_ingests)
        known = await self._metadata.view(ingest_files)
        for file in files:
            if file not in known and not self._spool.is_temporary(file):
                freed += await trio.to_thread.run_sync(self._spool.remove_ingest, file)
        if freed:
            self._log.info("removed files without a record: %d bytes", freed)

    # --- inside

    async def _remove_blobs(self, digests: Sequence[str]) -> int:
        """Remove those of these blobs that have no record, and their trash records."""
        if not digests:
            return 0
        freed = 0
        async with self._guards.holding(digests):
            victims = await self._without_record(digests)
            with trio.CancelScope(shield=True):
                freed = await self._blobs.remove(victims)
                # Of these alone: one that had a record may be deleted just now, and
                # its new trash record is all that knows of its file.
                await self._forget_trash(victims)
        return freed

    async def _remove_ingests(self, names: Sequence[str]) -> int:
        # A file's name is never used again, so no guard is needed; but a call may
        # still be at work on one, and then the next collection takes it.
        idle = self._metadata.read(
            lambda view: [name for name in names if not self._is_locked(view, name)]
        )
        if not idle:
            return 0
        files = [name.removeprefix(INGEST_TRASH) for name in idle]
        for file in files:
            self._files.forget(file)
        freed = 0
        with trio.CancelScope(shield=True):
            freed = await trio.to_thread.run_sync(
                lambda: sum(self._spool.remove_ingest(file) for file in files)
            )
            await self._forget_trash(idle)
        return freed

    def _is_locked(self, view: View, name: str) -> bool:
        data = view.get(TRASH, "", name)
        if data is None:
            return False
        trash = decode(data, TrashRecord)
        return self._locks.is_held((trash.namespace, trash.ref))

    async def _forget_trash(self, names: Iterable[str]) -> None:
        def forget(txn: Transaction) -> None:
            for name in names:
                txn.delete(TRASH, "", name)

        if self._metadata.read(
            lambda view: any(view.get(TRASH, "", name) is not None for name in names)
        ):
            await self._metadata.update(forget, reclaim=True)

    async def _without_record(self, digests: Sequence[str]) -> list[str]:
        return await self._metadata.view(
            lambda view: [
                digest for digest in digests if view.get(FILES, "", digest) is None
            ]
        )


def next_trash(view: View, after: str) -> list[str]:
    """Names of the next trash records."""
    return [name for name, _ in islice(view.scan(TRASH, "", after=after), BATCH)]


def ingest_files(view: View) -> set[str]:
    """The files of all ingests there are."""
    return {
        decode(data, IngestRecord).file
        for namespace in view.scan_namespaces(INGESTS)
        for _, data in view.scan(INGESTS, namespace)
    }


def batched(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
