# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The snapshot service: records in transactions, bytes by drivers, one after the other.

A driver works before the record is written that names its work, and after the record is
gone that named it; a commit, which moves bytes from one name to another, states its
intent first. So a kill leaves what nobody names, or an intent, and never a record
without bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import trio

from pluggd.errors import (
    DataLoss,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PluggdError,
    Unavailable,
)
from pluggd.model.fieldmask import check_fields, masked_map
from pluggd.model.filters import parse_filters
from pluggd.model.labels import validate_labels, without_empty
from pluggd.model.record import Encoded, replace
from pluggd.objects.pages import check_limit, encoded_page, record_test
from pluggd.objects.records import check_text, collect_now, sync_policy
from pluggd.services import call
from pluggd.services.gc import Gc
from pluggd.services.metadata import Metadata, Transaction, View
from pluggd.services.snapshots import (
    REFERENCE,
    Mounts,
    SnapshotInfo,
    SnapshotKind,
    SnapshotList,
    Snapshotter,
    SnapshotterList,
    Usage,
)

from . import catalog
from .cleaning import Cleaner
from .drivers import Drivers, Keys
from .fields import adaptor, inherited
from .locks import Guards, InFlight
from .records import (
    INFOS,
    Backing,
    PendingCommit,
    Place,
    find_info,
    with_prefix,
)


class SnapshotStore:
    """See `pluggd.services.snapshots.Snapshots` for what the methods promise."""

    def __init__(
        self,
        metadata: Metadata,
        drivers: Drivers,
        keys: Keys,
        in_flight: InFlight,
        cleaner: Cleaner,
        find_gc: Callable[[], Gc | None],
    ) -> None:
        self._metadata = metadata
        self._drivers = drivers
        self._keys = keys
        self._in_flight = in_flight
        self._cleaner = cleaner
        self._find_gc = find_gc
        self._guards = Guards()

    # --- making

    async def prepare(
        self,
        *,
        key: str,
        parent: str = "",
        labels: Mapping[str, str] = {},
        snapshotter: str = "",
    ) -> Mounts:
        return await self._create("active", key, parent, labels, snapshotter)

    async def view(
        self,
        *,
        key: str,
        parent: str = "",
        labels: Mapping[str, str] = {},
        snapshotter: str = "",
    ) -> Mounts:
        return await self._create("view", key, parent, labels, snapshotter)

    async def commit(
        self,
        *,
        name: str,
        key: str,
        labels: Mapping[str, str] = {},
        snapshotter: str = "",
    ) -> SnapshotInfo:
        place, driver = await self._at(key, snapshotter)
        _check_key(name, "snapshot name")
        validate_labels(labels, "snapshot.Labels")
        committed = place.at(name)
        async with self._guards.holding(place, committed):
            pending = PendingCommit(
                key=key,
                name=name,
                labels=without_empty(labels),
                driver_name=self._keys.next(committed),
            )
            with (
                trio.CancelScope(shield=True),
                self._in_flight.having([pending.driver_name]),
            ):
                driver_key = await self._metadata.update(
                    lambda txn: catalog.begin_commit(txn, place, pending)
                )
                if driver_key is None:
                    raise catalog.already_exists(name)
                with self._in_flight.having([driver_key]):
                    return await self._commit(driver, driver_key, place, pending)
        raise AssertionError("a shielded scope is not cancelled")

    async def _commit(
        self, driver: Snapshotter, driver_key: str, place: Place, pending: PendingCommit
    ) -> SnapshotInfo:
        try:
            usage = await driver.commit(
                name=pending.driver_name,
                key=driver_key,
                labels=inherited(pending.labels),
            )
        except (Unavailable, DeadlineExceeded) as error:
            # It may have happened: the intent stays, and says so to `settle`.
            raise Unavailable(
                f'whether snapshot "{place.key}" was committed is found out when '
                f"{place.snapshotter} answers again; look for either name then: {error}"
            ) from error
        except PluggdError as error:
            await self._metadata.update(
                lambda txn: catalog.abandon_commit(txn, place), reclaim=True
            )
            raise _at_driver(error, place) from error
        info = await self._metadata.update(
            lambda txn: catalog.finish_commit(txn, place, pending, usage)
        )
        if info is None:
            raise catalog.not_found(place.key)
        return info

    async def _create(
        self,
        kind: SnapshotKind,
        key: str,
        parent: str,
        labels: Mapping[str, str],
        snapshotter: str,
    ) -> Mounts:
        place, driver = await self._at(key, snapshotter)
        validate_labels(labels, "snapshot.Labels")
        async with self._guards.holding(place):
            await self._refuse_existing(place)
            target = labels.get(REFERENCE)
            if target:
                await self._refuse_existing(place.at(target), "target snapshot")
            parent_key = self._metadata.read(
                lambda view: catalog.parent_key(view, place, parent)
            )
            driver_key = self._keys.next(place)
            with self._in_flight.having([driver_key]):
                make = driver.prepare if kind == "active" else driver.view
                try:
                    mounts = await make(
                        key=driver_key, parent=parent_key, labels=inherited(labels)
                    )
                except NotFound as error:
                    raise _at_driver(error, place.at(parent)) from error
                with trio.CancelScope(shield=True):
                    await self._record(
                        kind, place, parent, labels, driver_key, parent_key
                    )
        return Mounts(mounts=mounts)

    async def _record(
        self,
        kind: SnapshotKind,
        place: Place,
        parent: str,
        labels: Mapping[str, str],
        driver_key: str,
        parent_key: str,
    ) -> None:
        """Write down what the driver made, or have it removed again."""

        def write(txn: Transaction) -> bool:
            info = SnapshotInfo(
                kind=kind,
                name=place.key,
                parent=parent,
                labels=without_empty(labels),
                created_at=txn.now,
                updated_at=txn.now,
            )
            return catalog.create(
                txn, place, info, Backing(driver_key=driver_key), parent_key
            )

        try:
            if not await self._metadata.update(write):
                raise catalog.already_exists(place.key)
        except PluggdError:
            await self._cleaner.remove(place.snapshotter, driver_key)
            raise

    async def _refuse_existing(self, place: Place, what: str = "snapshot") -> None:
        """Raises AlreadyExists, with the existing one on the lease of the call."""
        found = self._metadata.read(lambda view: find_info(view, place))
        if found is None:
            return
        if call.lease():
            await self._metadata.update(lambda txn: catalog.hold_existing(txn, place))
        raise catalog.already_exists(place.key, what)

    # --- what there is

    async def mounts(self, *, key: str, snapshotter: str = "") -> Mounts:
        place, driver = await self._at(key, snapshotter)

        def look(view: View) -> str:
            if catalog.existing(view, place).kind == "committed":
                raise FailedPrecondition(
                    f"failed to get snapshot mount: requested snapshot {key} not active "
                    "or view: prepare or view a child of it: failed precondition"
                )
            return catalog.backing_of(view, place).driver_key

        driver_key = self._metadata.read(look)
        try:
            return Mounts(mounts=await driver.mounts(key=driver_key))
        except PluggdError as error:
            raise _at_driver(error, place) from error

    async def stat(self, *, key: str, snapshotter: str = "") -> SnapshotInfo:
        place, _ = await self._at(key, snapshotter)
        return self._metadata.read(lambda view: catalog.existing(view, place))

    async def list(
        self,
        *,
        filters: Sequence[str] = (),
        limit: int = 0,
        after: str = "",
        snapshotter: str = "",
    ) -> SnapshotList:
        namespace = call.namespace()
        check_limit(limit)
        matches = record_test(parse_filters(filters), adaptor)
        name = await self._drivers.name(namespace, snapshotter)

        def scan(view: View) -> Encoded[SnapshotList]:
            records = with_prefix(view, INFOS, namespace, f"{name}/", after)
            return encoded_page(
                SnapshotList, "snapshots", records, limit=limit, matches=matches
            )

        return self._metadata.read(scan).value

    async def usage(self, *, key: str, snapshotter: str = "") -> Usage:
        place, driver = await self._at(key, snapshotter)
        info, backing = self._metadata.read(
            lambda view: (
                catalog.existing(view, place),
                catalog.backing_of(view, place),
            )
        )
        if info.kind == "view":
            return Usage()
        if info.kind == "committed":
            return Usage(size=backing.size, inodes=backing.inodes)
        try:
            return await driver.usage(key=backing.driver_key)
        except PluggdError as error:
            raise _at_driver(error, place) from error

    async def snapshotters(self) -> SnapshotterList:
        name = await self._drivers.name(call.namespace(), "")
        return SnapshotterList(default=name, snapshotters=sorted(self._drivers.all))

    # --- changing

    async def update(
        self,
        *,
        info: SnapshotInfo,
        fields: Sequence[str] = (),
        snapshotter: str = "",
    ) -> SnapshotInfo:
        place, driver = await self._at(info.name, snapshotter)
        check_fields(fields, maps=("labels",), what=f'snapshot "{info.name}"')
        validate_labels(info.labels, "snapshot.Labels")

        def write(txn: Transaction) -> tuple[SnapshotInfo, SnapshotInfo, str]:
            stored = catalog.existing(txn, place)
            labels = (
                masked_map(stored.labels, info.labels, fields, "labels")
                if fields
                else without_empty(info.labels)
            )
            changed = replace(stored, labels=labels, updated_at=txn.now)
            catalog.change(txn, place, changed)
            return stored, changed, catalog.backing_of(txn, place).driver_key

        async with self._guards.holding(place):
            with trio.CancelScope(shield=True):
                stored, changed, driver_key = await self._metadata.update(write)
                passed = inherited(changed.labels)
                if passed != inherited(stored.labels):
                    asked = SnapshotInfo(name=driver_key, labels=passed)
                    await driver.update(info=asked)
                return changed
        raise AssertionError("a shielded scope is not cancelled")

    async def remove(
        self, *, key: str, snapshotter: str = "", sync: bool = False
    ) -> None:
        place, _ = await self._at(key, snapshotter)
        gc = sync_policy(sync, self._find_gc, f'snapshot "{key}"')
        async with self._guards.holding(place):
            await self._metadata.update(
                lambda txn: catalog.remove(txn, place), reclaim=True
            )
        if gc is not None:
            await collect_now(gc)

    async def cleanup(self, *, snapshotter: str = "") -> None:
        name = await self._drivers.name(call.namespace(), snapshotter)
        await self._cleaner.clean(name)

    # --- inside

    async def _at(self, key: str, snapshotter: str) -> tuple[Place, Snapshotter]:
        """Where a call's snapshot is. Raises InvalidArgument, FailedPrecondition."""
        namespace = call.namespace()
        _check_key(key, "snapshot key")
        name = await self._drivers.name(namespace, snapshotter)
        place = Place(namespace, name, key)
        # A driver that is away says so itself, where it is needed.
        with suppress(Unavailable, DeadlineExceeded):
            await self._cleaner.settle(place)
        return place, self._drivers.all[name]


def _check_key(key: str, what: str) -> None:
    if not key:
        raise InvalidArgument(f"{what} must not be empty: invalid argument")
    check_text(key, what)


def _at_driver(error: PluggdError, place: Place) -> PluggdError:
    """What a driver's error means to a client, who does not know the driver's keys."""
    if isinstance(error, NotFound):
        return DataLoss(
            f'snapshot "{place.key}" is recorded, and its snapshotter '
            f"{place.snapshotter} does not have it; `pluggctl content fsck` shows what "
            "else is missing: data loss"
        )
    return error
