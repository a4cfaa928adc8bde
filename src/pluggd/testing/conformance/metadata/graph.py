# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Objects of the usual types, for the rules of collection."""

from __future__ import annotations

from collections.abc import Iterable

from pluggd.model.record import decode
from pluggd.services.envelope import Envelope
from pluggd.services.metadata import (
    NEVER,
    Edge,
    Metadata,
    Node,
    ResourceType,
    Transaction,
)

TABLE = "things"


HOUR = 3_600_000_000_000


def blob(name: str, namespace: str = "ns") -> Node:
    return Node("content", namespace, name)


def image(name: str) -> Node:
    return Node("image", "ns", name)


def lease(name: str) -> Node:
    return Node("lease", "ns", name)


def snapshot(name: str, snapshotter: str = "native") -> Node:
    return Node(f"snapshot/{snapshotter}", "ns", name)


async def prepare(metadata: Metadata) -> None:
    """Register the usual types; each collected object emits an event."""
    await metadata.open_table(TABLE)

    def collect(txn: Transaction, node: Node) -> None:
        txn.delete(TABLE, node.namespace, str(node))
        txn.emit(node.namespace, "/gone", "type", str(node))

    for type_ in ("content", "image", "lease", "ingest", "snapshot/"):
        metadata.register(ResourceType(type_, f"{type_}s", collect))
    metadata.register(ResourceType("container", "containers"))


def exists(metadata: Metadata, node: Node) -> bool:
    return metadata.read(lambda view: view.has_node(node))


async def state(
    metadata: Metadata,
    node: Node,
    edges: Iterable[Edge | Node] = (),
    root_until: int = NEVER,
    flat: bool = False,
) -> None:
    whole = [one if isinstance(one, Edge) else Edge(one) for one in edges]

    def change(txn: Transaction) -> None:
        txn.put(TABLE, node.namespace, str(node), b"")
        txn.set_node(node, whole, root_until=root_until, flat=flat)

    await metadata.update(change)


async def drop(metadata: Metadata, node: Node) -> None:
    def change(txn: Transaction) -> None:
        txn.delete(TABLE, node.namespace, str(node))
        txn.drop_node(node)

    await metadata.update(change)


async def collected(metadata: Metadata, *, full: bool = False) -> set[Node]:
    """Collect; what went. The plan, the records and the events must say the same."""
    before = metadata.read(lambda view: view.event_bounds()[1])
    plan = await metadata.plan()
    stats = await metadata.collect(full=full)
    gone = {Node(one.type, one.namespace, one.name) for one in stats.objects}
    assert {Node(one.type, one.namespace, one.name) for one in plan} == gone
    assert sum(stats.removed.values()) == len(gone)
    events = metadata.read(lambda view: list(view.events(before)))
    said = [decode(data, Envelope).event.value for _, data in events]
    assert sorted(map(str, gone)) == sorted(map(str, said))
    for node in gone:
        assert not exists(metadata, node)
        assert (await metadata.explain(node)).exists is False
    return gone
