# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What drivers have and no record names any more: remove it, whenever a kill struck.

Trash records say what is to go; the end of each collection removes it, children first.
What a driver has without any record was made just before a kill; it is looked for once
after the start, and by `cleanup`.

A driver may be another process that is away. What it has to do waits for it: a commit of
which nobody knows whether it happened, trash, and the look after the start. The end of
each collection tries all of that again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress

import trio

from pluggd.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    NotFound,
    PluggdError,
    Unavailable,
)
from pluggd.model.record import decode
from pluggd.services.metadata import Metadata, Transaction, View
from pluggd.services.snapshots import Snapshotter

from . import catalog
from .locks import InFlight
from .records import (
    TRASH,
    PendingCommit,
    Place,
    Trash,
    find_backing,
    find_pending,
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
        self._unreconciled = set(drivers)
        self._running = trio.Lock()

    async def finish_commits(self) -> None:
        """End the commits in the middle of which the daemon died; before anything else.
        Those of a driver that is away are left to `cleanup`."""
        for place, _ in self._pending():
            with suppress(Unavailable, DeadlineExceeded):
                await self.settle(place)

    async def settle(self, place: Place) -> None:
        """Find out whether a commit happened of which that is not known, if there is one.

        Raises Unavailable, DeadlineExceeded: it still is not. The snapshot is as before
        then, and its driver cannot do anything with it either.
        """
        commit = self._metadata.read(lambda view: find_pending(view, place))
        driver = self._drivers.get(place.snapshotter)
        if commit is None or driver is None or commit.driver_name in self._in_flight:
            return  # without the driver: when it is back, this is decided
        try:
            usage = await driver.usage(key=commit.driver_name)
        except NotFound:
            usage = None

        def decide(txn: Transaction) -> None:
            if find_pending(txn, place) != commit:
                return  # somebody else was quicker
            if usage is None:
                catalog.abandon_commit(txn, place)
            else:
                catalog.finish_commit(txn, place, commit, usage)

        await self._metadata.update(decide, reclaim=usage is None)

    def _pending(self) -> list[tuple[Place, PendingCommit]]:
        return self._metadata.read(lambda view: list(pending_commits(view)))

    async def reconcile(self) -> None:
        """Once after the start: trash, and what was made without being recorded."""
        freed = 0
        for snapshotter in self._drivers:
            try:
                async with self._running:
                    freed += await self._reconcile(snapshotter)
            except (Unavailable, DeadlineExceeded) as error:
                self._log.warning(
                    "what %s need not have is removed later: %s", snapshotter, error
                )
        if freed:
            self._log.info("removed snapshots without a record: %d bytes", freed)

    async def _reconcile(self, snapshotter: str) -> int:
        freed = await self._remove_trash(snapshotter)
        freed += await self._remove_unknown(snapshotter)
        self._unreconciled.discard(snapshotter)
        return freed

    async def cleanup(self) -> int:
        """Remove all trash; the bytes freed. Raises Unavailable, DeadlineExceeded when a
        driver was away; that stops no other."""
        # Most collections come for something else, and a deletion waits for them.
        if not self._unreconciled and self._metadata.read(_is_clean):
            return 0
        freed, away = 0, None
        for snapshotter in self._drivers:
            try:
                async with self._running:
                    freed += await self._catch_up(snapshotter)
            except (Unavailable, DeadlineExceeded) as error:
                away = error
        if away is not None:
            raise away
        return freed

    async def _catch_up(self, snapshotter: str) -> int:
        for place, _ in self._pending():
            if place.snapshotter == snapshotter:
                await self.settle(place)
        if snapshotter in self._unreconciled:
            return await self._reconcile(snapshotter)
        return await self._remove_trash(snapshotter)

    async def clean(self, snapshotter: str) -> int:
        """Everything that one driver need not have; the bytes freed."""
        freed = 0
        async with self._running:
            with suppress(
                Unavailable
            ):  # of one of them; the driver itself is asked next
                freed = await self._remove_trash(snapshotter)
            freed += await self._remove_unknown(snapshotter)
            return freed + await self._drivers[snapshotter].cleanup()

    async def remove(self, snapshotter: str, driver_key: str) -> int:
        """Remove one snapshot of a driver; what cannot be removed now is logged."""
        try:
            return await self._remove(snapshotter, driver_key)
        except (Unavailable, DeadlineExceeded) as error:
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

    async def _remove(self, snapshotter: str, driver_key: str) -> int:
        """The bytes freed; -1 for what cannot be removed now, which is logged.

        Raises Unavailable, DeadlineExceeded.
        """
        try:
            return await self._drivers[snapshotter].remove(key=driver_key)
        except NotFound:
            return 0
        except (Unavailable, DeadlineExceeded):
            raise
        except FailedPrecondition as error:
            # Something is being made on it; that will fail, and this will not.
            self._log.info("%s, left to the next collection", error)
        except PluggdError as error:
            self._log.warning("%s, left to the next collection", error)
        return -1

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
        """Raises Unavailable when that kept something from being removed, after all else
        was, and DeadlineExceeded at once: the next one would take as long."""
        freed, away = 0, None
        gone: list[str] = []
        trash = self._metadata.read(lambda view: _trash(view, snapshotter))
        try:
            for name, driver_key in reversed(trash):
                try:
                    bytes_ = await self._remove(snapshotter, driver_key)
                except Unavailable as error:
                    away = error
                    continue
                if bytes_ >= 0:
                    freed += bytes_
                    gone.append(name)
                if len(gone) == _BATCH:
                    await self._forget(gone)
                    gone = []
        finally:
            if gone:
                await self._forget(gone)
        if away is not None:
            raise away
        return freed

    async def _forget(self, names: list[str]) -> None:
        def forget(txn: Transaction) -> None:
            for name in names:
                txn.delete(TRASH, "", name)

        await self._metadata.update(forget, reclaim=True)


def _is_clean(view: View) -> bool:
    """Whether there is nothing to settle and nothing to remove."""
    return not any(True for _ in pending_commits(view)) and not any(
        True for _ in view.scan(TRASH, "")
    )


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
