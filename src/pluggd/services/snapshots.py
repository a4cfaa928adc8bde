# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Snapshots: file systems made of layers, in namespaces, over any snapshotter.

Two interfaces. `Snapshots` is the service: keys belong to a namespace, objects have
labels, references and events, and what nothing keeps is collected. `Snapshotter` is
a driver below it: it knows neither namespaces nor collection, only unique keys and
where their bytes lie. A plugin that brings a file system provides the second.

A snapshot is *active* (being written), a *view* (read only), or *committed* (fixed,
and a parent for others). All three share one key space.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from pluggd.model.record import Record
from pluggd.model.types import Mount, Time
from pluggd.services.fsck import Finding
from pluggd.services.kind import Kind
from pluggd.services.rpc import rpc

SnapshotKind = Literal["", "active", "view", "committed"]
""""" is in requests alone, where the kind does not matter."""

INHERITED = "containerd.io/snapshot/"
"""Labels that begin so, and REFERENCE, reach the driver; others stay above it."""

REFERENCE = "containerd.io/snapshot.ref"
"""On `prepare`: the name under which the result is going to be committed. When that
name exists already, there is nothing to prepare (`AlreadyExists`)."""


class SnapshotInfo(Record, frozen=True):
    """A snapshot. name: its key, or its name once it is committed. parent: the name of
    a committed snapshot, "" for none. Times in ns, set by the store."""

    kind: SnapshotKind = ""
    name: str = ""
    parent: str = ""
    labels: dict[str, str] = {}
    created_at: Time = 0
    updated_at: Time = 0


class SnapshotList(Record, frozen=True):
    """A page of snapshots. `next`: the `after` of the next page, "" on the last."""

    snapshots: list[SnapshotInfo] = []
    next: str = ""


class Mounts(Record, frozen=True):
    """What to mount, in this order, to see the file system (`pluggd.mount`)."""

    mounts: list[Mount] = []


class Usage(Record, frozen=True):
    """What a snapshot takes on the disk, without its parents. size in bytes."""

    size: int = 0
    inodes: int = 0


class SnapshotterList(Record, frozen=True):
    """The snapshotters that work, in byte order, and the one that "" stands for here."""

    default: str = ""
    snapshotters: list[str] = []


class Snapshotter(Protocol):
    """A driver. Keys and names are opaque, non-empty, and never used twice.

    What a method answered survives kill -9 at any later point; what it did not answer
    has happened wholly or not at all. Methods may be called at the same time. Nothing
    here looks at the lease or the namespace of the call.

    A driver may be a process of its own, on the same machine and in the same mount
    namespace (`[proxy_plugins]`). Clients never reach one: they use `Snapshots`.
    """

    @rpc(result="mounts", namespaced=False)
    async def prepare(
        self, *, key: str, parent: str = "", labels: Mapping[str, str] = {}
    ) -> list[Mount]:
        """Make an active snapshot on a committed parent, or on nothing.

        Raises AlreadyExists (key), NotFound (parent), InvalidArgument (parent is not
        committed; empty key).
        """
        ...

    @rpc(result="mounts", namespaced=False)
    async def view(
        self, *, key: str, parent: str = "", labels: Mapping[str, str] = {}
    ) -> list[Mount]:
        """Make a read-only snapshot. Errors as in prepare."""
        ...

    @rpc(result="mounts", namespaced=False)
    async def mounts(self, *, key: str) -> list[Mount]:
        """What to mount to see an active snapshot or a view. Raises NotFound, FailedPrecondition."""
        ...

    @rpc(result="usage", namespaced=False)
    async def commit(
        self, *, name: str, key: str, labels: Mapping[str, str] = {}
    ) -> Usage:
        """Fix an active snapshot under a name; its key is gone, its parent stays.

        Its labels are exactly the given ones. Raises NotFound (key), AlreadyExists
        (name), FailedPrecondition (not active).
        """
        ...

    @rpc(result="snapshot", namespaced=False)
    async def stat(self, *, key: str) -> SnapshotInfo:
        """One snapshot. Raises NotFound."""
        ...

    @rpc(result="snapshot", namespaced=False)
    async def update(
        self, *, info: SnapshotInfo, fields: Sequence[str] = ()
    ) -> SnapshotInfo:
        """Replace the labels, or those named as `labels.<key>`.

        Raises NotFound, InvalidArgument.
        """
        ...

    @rpc(result="snapshots", namespaced=False)
    async def walk(self) -> list[SnapshotInfo]:
        """All of them, in byte order of the key."""
        ...

    @rpc(result="freed", namespaced=False)
    async def remove(self, *, key: str) -> int:
        """Remove one and its bytes; the bytes freed.

        A snapshot that is mounted is removed all the same. Raises NotFound,
        FailedPrecondition (it has children).
        """
        ...

    @rpc(result="usage", namespaced=False)
    async def usage(self, *, key: str) -> Usage:
        """What a snapshot takes on disk.

        Of an active one as it is now, of a committed one as it was committed; a view
        has none. Raises NotFound."""
        ...

    @rpc(result="freed", namespaced=False)
    async def cleanup(self) -> int:
        """Remove leftovers that belong to no snapshot; the bytes freed."""
        ...

    @rpc(result="findings", namespaced=False)
    async def check(self, *, deep: bool, repair: bool) -> list[Finding]:
        """Compare what is on the disk with what it knows (`pluggd.services.fsck`)."""
        ...


SNAPSHOTTER = Kind("pluggd.snapshotter.v1", Snapshotter, served=False)


class Snapshots(Protocol):
    """File systems in layers. snapshotter: which one, "" for this namespace's default
    (its label `containerd.io/defaults/snapshotter`, else the configured one).

    InvalidArgument for a snapshotter that is not loaded, in every method.
    """

    @rpc()
    async def prepare(
        self,
        *,
        key: str,
        parent: str = "",
        labels: dict[str, str] = {},
        snapshotter: str = "",
    ) -> Mounts:
        """Make an active snapshot, to be written to, on a committed parent or on nothing.

        Collected unless something refers to it: a lease, a container, or a label
        `containerd.io/gc.root`. Raises AlreadyExists (the key, which then is on the
        lease; or the target of `containerd.io/snapshot.ref`), NotFound (parent),
        InvalidArgument (key, labels, parent is not committed).
        """
        ...

    @rpc()
    async def view(
        self,
        *,
        key: str,
        parent: str = "",
        labels: dict[str, str] = {},
        snapshotter: str = "",
    ) -> Mounts:
        """Make a read-only snapshot. Errors as in prepare."""
        ...

    @rpc()
    async def mounts(self, *, key: str, snapshotter: str = "") -> Mounts:
        """What to mount to see it. Raises NotFound, FailedPrecondition (committed)."""
        ...

    @rpc(result="snapshot")
    async def commit(
        self,
        *,
        name: str,
        key: str,
        labels: dict[str, str] = {},
        snapshotter: str = "",
    ) -> SnapshotInfo:
        """Fix an active snapshot under a name; its key is gone.

        Its labels are exactly the given ones, its times those of the commit. Its bytes
        are durable. Raises NotFound (key), AlreadyExists (name; the active one stays),
        FailedPrecondition (not active), InvalidArgument.
        """
        ...

    @rpc(result="snapshot")
    async def stat(self, *, key: str, snapshotter: str = "") -> SnapshotInfo:
        """One snapshot. Raises NotFound."""
        ...

    @rpc(result="snapshot")
    async def update(
        self,
        *,
        info: SnapshotInfo,
        fields: Sequence[str] = (),
        snapshotter: str = "",
    ) -> SnapshotInfo:
        """Replace the labels, or those named as `labels.<key>`.

        Raises NotFound, InvalidArgument (another field).
        """
        ...

    @rpc()
    async def list(
        self,
        *,
        filters: Sequence[str] = (),
        limit: int = 0,
        after: str = "",
        snapshotter: str = "",
    ) -> SnapshotList:
        """In byte order of the name. Filters: `kind`, `name`, `parent`, `labels.<key>`.

        Raises InvalidArgument for a bad filter or limit.
        """
        ...

    @rpc()
    async def remove(
        self, *, key: str, snapshotter: str = "", sync: bool = False
    ) -> None:
        """Remove a snapshot; its bytes go with the next collection.

        sync: return after they are gone. Mounted or not is not looked at.
        Raises NotFound; Unavailable with `sync` when it is removed and its bytes could
        not be yet; FailedPrecondition when it has children, naming them.
        """
        ...

    @rpc(result="usage")
    async def usage(self, *, key: str, snapshotter: str = "") -> Usage:
        """What a snapshot takes on disk.

        Of an active one as it is now, of a committed one as it was committed; a view
        has none. Raises NotFound."""
        ...

    @rpc()
    async def cleanup(self, *, snapshotter: str = "") -> None:
        """Remove from the disk what belongs to no snapshot of any namespace."""
        ...

    @rpc()
    async def snapshotters(self) -> SnapshotterList:
        """What `snapshotter` can be, and what "" stands for in this namespace."""
        ...


SNAPSHOTS = Kind("pluggd.snapshots.v1", Snapshots)
