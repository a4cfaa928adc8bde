# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The rules by which snapshots' records change: everything that happens in a transaction.

Each function takes the view or transaction that it works in and is synchronous. No
driver is called here; what one has to remove is put down as trash, in the transaction
in which the record goes.
"""

from __future__ import annotations

from itertools import islice

from pluggd.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
)
from pluggd.model.events import Event, SnapshotCommit, SnapshotPrepare, SnapshotRemove
from pluggd.model.record import encode
from pluggd.objects.records import label_edges, stored_form
from pluggd.services.metadata import SNAPSHOT, Edge, Node, Transaction, View
from pluggd.services.snapshots import SnapshotInfo, Usage

from .fields import root_until
from .records import (
    BACKINGS,
    CHILDREN,
    COMMITS,
    INFOS,
    TRASH,
    Backing,
    PendingCommit,
    Place,
    Trash,
    children,
    find_backing,
    find_info,
    trash_name,
)

_SHOWN = 3


def node_of(place: Place) -> Node:
    return Node(SNAPSHOT + place.snapshotter, place.namespace, place.key)


def place_of(node: Node) -> Place:
    return Place(node.namespace, node.type[len(SNAPSHOT) :], node.name)


def not_found(key: str) -> NotFound:
    return NotFound(f"snapshot {key} does not exist: not found")


def already_exists(key: str, what: str = "snapshot") -> AlreadyExists:
    return AlreadyExists(f'{what} "{key}": already exists')


def existing(view: View, place: Place) -> SnapshotInfo:
    """Raises NotFound."""
    info = find_info(view, place)
    if info is None:
        raise not_found(place.key)
    return info


def backing_of(view: View, place: Place) -> Backing:
    """Raises NotFound."""
    backing = find_backing(view, place)
    if backing is None:
        raise not_found(place.key)
    return backing


def parent_key(view: View, place: Place, parent: str) -> str:
    """The driver's key of a snapshot that may become a parent; "" for none.

    Raises NotFound, InvalidArgument.
    """
    if not parent:
        return ""
    info = find_info(view, place.at(parent))
    if info is None:
        raise NotFound(f"parent snapshot {parent} does not exist: not found")
    if info.kind != "committed":
        raise InvalidArgument(
            f'failed to create snapshot: parent "{parent}" is not committed snapshot: '
            f"it is {_of_kind(info)}; commit it first: invalid argument"
        )
    return backing_of(view, place.at(parent)).driver_key


def create(
    txn: Transaction, place: Place, info: SnapshotInfo, backing: Backing, parent: str
) -> bool:
    """Record what the driver made; False when the key is taken.

    parent: the driver's key that it was made on. Raises NotFound when that is gone.
    """
    if find_info(txn, place) is not None:
        return False
    if parent_key(txn, place, info.parent) != parent:
        raise NotFound(f"parent snapshot {info.parent} does not exist: not found")
    _put(txn, place, info, backing)
    txn.hold(node_of(place))
    if info.kind == "active":
        _emit(
            txn,
            place,
            SnapshotPrepare(
                key=info.name, parent=info.parent, snapshotter=place.snapshotter
            ),
        )
    return True


def hold_existing(txn: Transaction, place: Place) -> bool:
    """Put a snapshot that exists on the lease of the call; whether it exists."""
    if find_info(txn, place) is None:
        return False
    txn.hold(node_of(place))
    return True


def begin_commit(txn: Transaction, place: Place, pending: PendingCommit) -> str | None:
    """State what is about to be committed; the driver's key. None: the name is taken,
    and what has it is on the lease. Raises NotFound, FailedPrecondition."""
    info = existing(txn, place)
    if info.kind != "active":
        raise FailedPrecondition(
            f'failed to commit snapshot: snapshot "{place.key}" is not active: it is '
            f"{_of_kind(info)}: failed precondition"
        )
    if hold_existing(txn, place.at(pending.name)):
        return None
    txn.put(COMMITS, place.namespace, place.name, encode(pending))
    return backing_of(txn, place).driver_key


def abandon_commit(txn: Transaction, place: Place) -> None:
    """The driver did not commit it."""
    txn.delete(COMMITS, place.namespace, place.name)


def finish_commit(
    txn: Transaction, place: Place, pending: PendingCommit, usage: Usage
) -> SnapshotInfo | None:
    """The driver committed it: move the record. None when it was collected meanwhile,
    and then the driver's snapshot is trash."""
    txn.delete(COMMITS, place.namespace, place.name)
    active = find_info(txn, place)
    committed = place.at(pending.name)
    if active is None or find_info(txn, committed) is not None:
        _discard(txn, place.snapshotter, pending.driver_name)
        return None
    info = SnapshotInfo(
        kind="committed",
        name=pending.name,
        parent=active.parent,
        labels=pending.labels,
        created_at=txn.now,
        updated_at=txn.now,
    )
    _delete(txn, place, active)
    node = node_of(place)
    txn.release(node)
    # The committed one takes its place; that must not call for a collection which
    # removes it before anybody could refer to it.
    txn.drop_node(node, collect=False)
    backing = Backing(
        driver_key=pending.driver_name, size=usage.size, inodes=usage.inodes
    )
    _put(txn, committed, info, backing)
    txn.hold(node_of(committed))
    _emit(
        txn,
        place,
        SnapshotCommit(key=place.key, name=pending.name, snapshotter=place.snapshotter),
    )
    return info


def change(txn: Transaction, place: Place, info: SnapshotInfo) -> None:
    """Store a snapshot whose labels changed."""
    _put(txn, place, info, backing_of(txn, place))


def remove(txn: Transaction, place: Place) -> None:
    """Raises NotFound; FailedPrecondition when it has children."""
    existing(txn, place)
    found = list(islice(children(txn, place), _SHOWN + 1))
    if found:
        raise FailedPrecondition(
            f'cannot remove snapshot with child: "{place.key}" is the parent of '
            f"{_named(found)}; remove what is above it first: failed precondition"
        )
    node = node_of(place)
    txn.release(node)
    txn.drop_node(node)
    collect(txn, node)


def collect(txn: Transaction, node: Node) -> None:
    """Remove the record of a snapshot and say so; its parent has a child less."""
    place = place_of(node)
    info = find_info(txn, place)
    if info is None:
        return
    backing = find_backing(txn, place)
    _delete(txn, place, info)
    if backing is not None:
        _discard(txn, place.snapshotter, backing.driver_key)
    _emit(txn, place, SnapshotRemove(key=place.key, snapshotter=place.snapshotter))


# --- inside


def _put(txn: Transaction, place: Place, info: SnapshotInfo, backing: Backing) -> None:
    record = stored_form(info, f'snapshot "{info.name}"')
    edges = label_edges(place.namespace, info.labels)
    txn.put(INFOS, place.namespace, place.name, record)
    txn.put(BACKINGS, place.namespace, place.name, encode(backing))
    if info.parent:
        parent = place.at(info.parent)
        txn.put(CHILDREN, place.namespace, parent.child_prefix() + place.key, b"")
        edges.append(Edge(node_of(parent), structural=True))
    txn.set_node(node_of(place), edges, root_until=root_until(info.labels))


def _delete(txn: Transaction, place: Place, info: SnapshotInfo) -> None:
    txn.delete(INFOS, place.namespace, place.name)
    txn.delete(BACKINGS, place.namespace, place.name)
    if info.parent:
        prefix = place.at(info.parent).child_prefix()
        txn.delete(CHILDREN, place.namespace, prefix + place.key)


def _discard(txn: Transaction, snapshotter: str, driver_key: str) -> None:
    name = trash_name(snapshotter, driver_key)
    txn.put(TRASH, "", name, encode(Trash(driver_key=driver_key)))


def _emit(txn: Transaction, place: Place, event: Event) -> None:
    txn.emit(place.namespace, event.TOPIC, event.TYPE, event)


def _named(keys: list[str]) -> str:
    shown = ", ".join(f'"{key}"' for key in keys[:_SHOWN])
    return f"{shown} and others" if len(keys) > _SHOWN else shown


def _of_kind(info: SnapshotInfo) -> str:
    return "a view" if info.kind == "view" else info.kind
