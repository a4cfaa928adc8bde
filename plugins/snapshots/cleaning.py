# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What drivers have and no record names any more: remove it, whenever a kill struck.

Trash records say what is to go; the end of each collection removes it, children first.
What a driver has without any record was made just before a kill; it is looked for once
after the start, and by `cleanup`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from pluggd.errors import FailedPrecondition, NotFound, PluggdError
from pluggd.model.record import decode
from pluggd.services.metadata import Metadata, Transaction, View
from pluggd.services.snapshots import Snapshotter, Usage
from plugins.snapshots import catalog
from plugins.snapshots.locks import InFlight
from plugins.snapshots.records import (
    TRASH,
    PendingCommit,
    Place,
    Trash,
    find_backing,
    parse_driver_key,
    pending_commits,
    trash_name,
    with_prefix,
)

_BATCH = 64

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


class Cleaner:
    """Removes what is not needed; idempotent, and safe to kill at any point."""

    def __init__(
        self,
        metadata: Metadata,
        drivers: Mapping[str, Snapshotter],
        store: str,
        in_flight: InFlight,
        log: Log,
    ) -> None:
        self._metadata = metadata
        self._drivers = drivers
        self._store = store
        self._in_flight = in_flight
        self._log = log

    async def finish_commits(self) -> None:
        """End the commits in the middle of which the daemon died; before anything else."""
        pending = self._metadata.read(lambda view: list(pending_commits(view)))
        for place, commit in pending:
            driver = self._drivers.get(place.snapshotter)
            if driver is None:
                continue  # it says nothing; when it is back, this is decided
            await self._finish(driver, place, commit)

    async def _finish(
        self, driver: Snapshotter, place: Place, commit: PendingCommit
    ) -> None:
        try:
            usage = await driver.usage(key=commit.driver_name)
        except NotFound:
            await self._metadata.update(
                lambda txn: catalog.abandon_commit(txn, place), reclaim=True
            )
            return

        def finish(txn: Transaction, usage: Usage = usage) -> None:
            catalog.finish_commit(txn, place, commit, usage)

        await self._metadata.update(finish)

    async def reconcile(self) -> None:
        """Once after the start: trash, and what was made without being recorded."""
        freed = await self.cleanup()
        for snapshotter in self._drivers:
            freed += await self._remove_unknown(snapshotter)
        if freed:
            self._log.info("removed snapshots without a record: %d bytes", freed)

    async def cleanup(self) -> int:
        """Remove all trash; the bytes freed."""
        return sum([await self._remove_trash(name) for name in self._drivers])

    async def clean(self, snapshotter: str) -> int:
        """Everything that one driver need not have; the bytes freed."""
        freed = await self._remove_trash(snapshotter)
        freed += await self._remove_unknown(snapshotter)
        return freed + await self._drivers[snapshotter].cleanup()

    async def remove(self, snapshotter: str, driver_key: str) -> int:
        """Remove one snapshot of a driver; what cannot be removed now is logged."""
        try:
            return await self._drivers[snapshotter].remove(key=driver_key)
        except NotFound:
            return 0
        except FailedPrecondition as error:
            # Something is being made on it; that will fail, and this will not.
            self._log.info("%s, left to the next collection", error)
        except PluggdError as error:
            self._log.warning("%s, left to the next collection", error)
        return -1

    async def unknown(self, snapshotter: str) -> list[str]:
        """Driver keys that nothing explains, children first, those of other stores too."""
        infos = await self._drivers[snapshotter].walk()
        keys = [info.name for info in infos if info.name not in self._in_flight]

        def look(view: View) -> list[str]:
            pending = {commit.driver_name for _, commit in pending_commits(view)}
            return [
                key
                for key in keys
                if key not in pending and not _is_explained(view, snapshotter, key)
            ]

        found = await self._metadata.view(look)
        return sorted(found, key=_serial, reverse=True)

    def is_own(self, driver_key: str) -> bool:
        """Whether a key was made by this store, and not by one that was here before."""
        parsed = parse_driver_key(driver_key)
        return parsed is not None and parsed.store == self._store

    # --- inside

    async def _remove_unknown(self, snapshotter: str) -> int:
        freed, strangers = 0, 0
        for key in await self.unknown(snapshotter):
            if self.is_own(key):
                freed += max(await self.remove(snapshotter, key), 0)
            else:
                strangers += 1
        if strangers:
            self._log.warning(
                "%s has %d snapshots of another metadata store: they are left alone, "
                "`pluggctl content fsck --repair` removes them",
                snapshotter,
                strangers,
            )
        return freed

    async def _remove_trash(self, snapshotter: str) -> int:
        freed = 0
        gone: list[str] = []
        trash = self._metadata.read(lambda view: _trash(view, snapshotter))
        for name, driver_key in reversed(trash):
            bytes_ = await self.remove(snapshotter, driver_key)
            if bytes_ >= 0:
                freed += bytes_
                gone.append(name)
            if len(gone) == _BATCH:
                await self._forget(gone)
                gone = []
        if gone:
            await self._forget(gone)
        return freed

    async def _forget(self, names: list[str]) -> None:
        def forget(txn: Transaction) -> None:
            for name in names:
                txn.delete(TRASH, "", name)

        await self._metadata.update(forget, reclaim=True)


def _trash(view: View, snapshotter: str) -> list[tuple[str, str]]:
    """Names in the table and driver keys; parents first."""
    prefix = f"{snapshotter}/"
    return [
        (prefix + rest, decode(record, Trash).driver_key)
        for rest, record in with_prefix(view, TRASH, "", prefix)
    ]


def _is_explained(view: View, snapshotter: str, driver_key: str) -> bool:
    if view.get(TRASH, "", trash_name(snapshotter, driver_key)) is not None:
        return True
    parsed = parse_driver_key(driver_key)
    if parsed is None:
        return False
    backing = find_backing(view, Place(parsed.namespace, snapshotter, parsed.key))
    return backing is not None and backing.driver_key == driver_key


def _serial(driver_key: str) -> str:
    parsed = parse_driver_key(driver_key)
    return parsed.serial if parsed else ""
