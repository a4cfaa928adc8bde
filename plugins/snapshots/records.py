# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is stored of snapshots, and under which names. Pure.

A name in a table is `<snapshotter>/<key>`, so one table has all snapshotters, also those
that are not loaded at the moment. What a client sees (`SnapshotInfo`) is stored apart from
what only this plugin needs, so that a listing is a copy of stored bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pluggd.model.record import Record, decode
from pluggd.services.metadata import View
from pluggd.services.snapshots import SnapshotInfo
from pluggd.struct import Struct

INFOS = "snapshots"
"""Namespace, name -> SnapshotInfo."""

BACKINGS = "snapshots.backings"
"""Namespace, name -> Backing."""

CHILDREN = "snapshots.children"
"""Namespace, `<snapshotter>/<length of parent>:<parent>/<child>` -> nothing."""

COMMITS = "snapshots.commits"
"""Namespace, name of the active one -> PendingCommit."""

TRASH = "snapshots.trash"
"""No namespace, `<snapshotter>/<serial>` -> Trash."""

STORE = "snapshots.store"
"""No namespace, `id` -> what tells the driver keys of this store from those of others."""

TABLES = (INFOS, BACKINGS, CHILDREN, COMMITS, TRASH, STORE)


class Backing(Record, frozen=True):
    """Where a snapshot's bytes are: its key at the driver. size and inodes: as committed."""

    driver_key: str = ""
    size: int = 0
    inodes: int = 0


class PendingCommit(Record, frozen=True):
    """A commit that the driver may have done, and that is not recorded yet."""

    key: str = ""
    name: str = ""
    labels: dict[str, str] = {}
    driver_name: str = ""


class Trash(Record, frozen=True):
    """A snapshot of a driver that has no record any more."""

    driver_key: str = ""


class DriverKey(Struct, frozen=True):
    """A key as drivers know it, taken apart.

    serial: `<epoch>.<number>` with leading zeros; grows, so a child's is behind that of
    its parent in byte order.
    """

    namespace: str
    store: str
    serial: str
    key: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.store}/{self.serial}/{self.key}"


def parse_driver_key(text: str) -> DriverKey | None:
    """None for a key that no store of this kind made."""
    parts = text.split("/", 3)
    return DriverKey(*parts) if len(parts) == 4 else None


class Place(NamedTuple):
    """A snapshot as transactions name it."""

    namespace: str
    snapshotter: str
    key: str

    @property
    def name(self) -> str:
        return f"{self.snapshotter}/{self.key}"

    def child_prefix(self) -> str:
        return f"{self.snapshotter}/{len(self.key)}:{self.key}/"

    def at(self, key: str) -> Place:
        return self._replace(key=key)


def find_info(view: View, place: Place) -> SnapshotInfo | None:
    data = view.get(INFOS, place.namespace, place.name)
    return None if data is None else decode(data, SnapshotInfo)


def find_backing(view: View, place: Place) -> Backing | None:
    data = view.get(BACKINGS, place.namespace, place.name)
    return None if data is None else decode(data, Backing)


def find_pending(view: View, place: Place) -> PendingCommit | None:
    data = view.get(COMMITS, place.namespace, place.name)
    return None if data is None else decode(data, PendingCommit)


def children(view: View, place: Place) -> Iterator[str]:
    """The keys of what has this snapshot as its parent, in byte order."""
    prefix = place.child_prefix()
    for name, _ in view.scan(CHILDREN, place.namespace, after=prefix):
        if not name.startswith(prefix):
            return
        yield name[len(prefix) :]


def with_prefix(
    view: View, table: str, namespace: str, prefix: str, after: str = ""
) -> Iterator[tuple[str, bytes]]:
    """Names that begin so, without the prefix, and their records."""
    for name, record in view.scan(table, namespace, after=prefix + after):
        if not name.startswith(prefix):
            return
        yield name[len(prefix) :], record


def trash_name(snapshotter: str, driver_key: str) -> str:
    parsed = parse_driver_key(driver_key)
    return f"{snapshotter}/{parsed.serial if parsed else driver_key}"


def pending_commits(view: View) -> Iterator[tuple[Place, PendingCommit]]:
    """All commits that are under way, or were when the daemon died."""
    for namespace in view.scan_namespaces(COMMITS):
        for name, data in view.scan(COMMITS, namespace):
            snapshotter, _, key = name.partition("/")
            yield Place(namespace, snapshotter, key), decode(data, PendingCommit)
