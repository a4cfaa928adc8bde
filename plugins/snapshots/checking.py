# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Every snapshot of a driver has a record, and every record its snapshot."""

from __future__ import annotations

from collections.abc import Mapping

from pluggd.errors import NotFound
from pluggd.model.record import decode, replace
from pluggd.services.fsck import CheckResult, Finding
from pluggd.services.metadata import Metadata, View
from pluggd.services.snapshots import Snapshotter

from .cleaning import Cleaner
from .locks import InFlight
from .records import (
    BACKINGS,
    INFOS,
    Backing,
    Place,
    find_backing,
    with_prefix,
)


class Checker:
    """The store's `pluggd.services.fsck.Check`."""

    def __init__(
        self,
        metadata: Metadata,
        drivers: Mapping[str, Snapshotter],
        cleaner: Cleaner,
        in_flight: InFlight,
    ) -> None:
        self._metadata = metadata
        self._drivers = drivers
        self._cleaner = cleaner
        self._in_flight = in_flight

    async def __call__(self, *, deep: bool, repair: bool) -> CheckResult:
        findings: list[Finding] = []
        snapshots = 0
        for snapshotter, driver in self._drivers.items():
            found = await driver.check(deep=deep, repair=repair)
            found += await self._unknown(snapshotter, repair)
            missing, count = await self._missing(snapshotter)
            snapshots += count
            findings += [
                replace(self._named(one), store=f"snapshots/{snapshotter}")
                for one in [*found, *missing]
            ]
        return CheckResult(findings=findings, checked={"snapshots": snapshots})

    async def _unknown(self, snapshotter: str, repair: bool) -> list[Finding]:
        found: list[Finding] = []
        for key in await self._cleaner.unknown(snapshotter):
            own = self._cleaner.is_own(key)
            repaired = repair and await self._cleaner.remove(snapshotter, key) >= 0
            found.append(
                Finding(
                    store="",
                    problem="stray",
                    object=key,
                    meaning=f"{snapshotter} has this snapshot, and no record does"
                    if own
                    else "this snapshot belongs to another metadata store",
                    remedy="run `pluggctl snapshots cleanup`, or check with --repair"
                    if own
                    else "restore that store, or check with --repair to remove it",
                    repaired=repaired,
                )
            )
        return found

    async def _missing(self, snapshotter: str) -> tuple[list[Finding], int]:
        """Records whose snapshot the driver does not have; how many were looked at."""
        backings = await self._metadata.view(
            lambda view: list(_backings(view, snapshotter))
        )
        there = {info.name for info in await self._drivers[snapshotter].walk()}
        found: list[Finding] = []
        for place, driver_key in backings:
            if driver_key not in there and await self._is_missing(place, driver_key):
                found.append(
                    Finding(
                        store="",
                        problem="missing",
                        object=_name(place),
                        meaning=f"recorded, but {snapshotter} does not have it",
                        remedy="remove it and those above it, and make them again",
                    )
                )
        return found, len(backings)

    async def _is_missing(self, place: Place, driver_key: str) -> bool:
        """Whether it still is, now that what was under way may be over."""
        if driver_key in self._in_flight:
            return False
        try:
            await self._drivers[place.snapshotter].stat(key=driver_key)
        except NotFound:
            now = self._metadata.read(lambda view: find_backing(view, place))
            return (
                now is not None
                and now.driver_key == driver_key
                and driver_key not in self._in_flight
            )
        return False

    def _named(self, finding: Finding) -> Finding:
        """With the name that a client knows in place of the driver's key."""
        namespace, _, rest = finding.object.partition("/")
        parts = rest.split("/", 2)
        if len(parts) < 3 or not self._cleaner.is_own(finding.object):
            return finding
        return replace(finding, object=f"{namespace}/{parts[2]}")


def _backings(view: View, snapshotter: str) -> list[tuple[Place, str]]:
    prefix = f"{snapshotter}/"
    return [
        (Place(namespace, snapshotter, key), decode(data, Backing).driver_key)
        for namespace in view.scan_namespaces(INFOS)
        for key, data in with_prefix(view, BACKINGS, namespace, prefix)
    ]


def _name(place: Place) -> str:
    return f"{place.namespace}/{place.key}"
