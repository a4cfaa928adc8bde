# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Objects and what they refer to."""

from __future__ import annotations

import pytest

from pluggd.errors import NotFound
from pluggd.services import call
from pluggd.services.metadata import (
    FOREVER,
    LEASE,
    Edge,
    Metadata,
    Node,
    Transaction,
    View,
)
from pluggd.testing.conformance.base import Conformance
from pluggd.testing.conformance.metadata.kit import TABLE, emit, put


class Nodes(Conformance):
    """Objects and what they refer to."""

    async def test_a_node_exists_from_set_node_to_drop_node(
        self, metadata: Metadata
    ) -> None:
        a, b = Node("content", "ns", "a"), Node("content", "ns", "b")
        await metadata.update(lambda txn: txn.set_node(a, [Edge(b)]))

        def look(view: View) -> tuple[bool, bool]:
            return view.has_node(a), view.has_node(b)

        assert metadata.read(look) == (True, False)
        await metadata.update(lambda txn: txn.drop_node(a))
        await metadata.update(lambda txn: txn.drop_node(b))
        assert metadata.read(look) == (False, False)

    async def test_nodes_are_listed_by_type_and_name(self, metadata: Metadata) -> None:
        nodes = [
            Node("content", "ns", "c"),
            Node("snapshot/native", "ns", "b"),
            Node("snapshot/native", "ns", "k" * 900),
            Node("snapshot/overlay", "ns", "a"),
            Node("snapshot/native", "other", "a"),
        ]

        def change(txn: Transaction) -> None:
            for node in reversed(nodes):
                txn.set_node(node, [Edge(Node("snapshot/native", "ns", "dead"))])

        await metadata.update(change)

        def listed(view: View, prefix: str) -> list[Node]:
            return list(view.nodes(prefix, "ns"))

        assert metadata.read(lambda view: listed(view, "")) == nodes[:4]
        assert metadata.read(lambda view: listed(view, "snapshot/")) == nodes[1:4]
        assert metadata.read(lambda view: listed(view, "content")) == nodes[:1]
        assert metadata.read(lambda view: listed(view, "image")) == []

    async def test_set_node_replaces_what_it_stated_and_nothing_else(
        self,
        metadata: Metadata,
    ) -> None:
        a, b, c, d = (Node("content", "ns", name) for name in "abcd")

        def edges() -> list[Edge]:
            return metadata.read(lambda view: view.edges(a))

        await metadata.update(
            lambda txn: txn.set_node(a, [Edge(c), Edge(b), Edge(d, back=True)])
        )
        assert edges() == [Edge(b), Edge(c), Edge(d, back=True)]
        await metadata.update(lambda txn: txn.add_edge(a, Edge(b)))
        await metadata.update(lambda txn: txn.add_edge(a, Edge(b)))
        await metadata.update(lambda txn: txn.set_node(a, [Edge(d, structural=True)]))
        assert edges() == [Edge(b), Edge(d, structural=True)]
        await metadata.update(lambda txn: txn.remove_edge(a, Edge(b)))
        await metadata.update(lambda txn: txn.remove_edge(a, Edge(b)))
        assert edges() == [Edge(d, structural=True)]

    async def test_an_edge_is_added_only_to_what_exists(
        self, metadata: Metadata
    ) -> None:
        a, b = Node("content", "ns", "a"), Node("content", "ns", "b")
        with pytest.raises(NotFound):
            await metadata.update(lambda txn: txn.add_edge(a, Edge(b)))
        await metadata.update(lambda txn: txn.remove_edge(a, Edge(b)))

    async def test_what_is_held_is_on_the_lease_of_the_call(
        self, metadata: Metadata
    ) -> None:
        lease, blob = Node(LEASE, "ns", "l"), Node("content", "ns", "x")
        await metadata.update(lambda txn: txn.set_node(lease, root_until=FOREVER))

        def resources() -> list[Edge]:
            return metadata.read(lambda view: view.edges(lease))

        await metadata.update(lambda txn: txn.hold(blob))
        assert resources() == []
        with call.using(lease="l"):
            await metadata.update(lambda txn: txn.hold(blob))
            await metadata.update(lambda txn: txn.hold(blob))
            assert resources() == [Edge(blob)]
            await metadata.update(lambda txn: txn.release(blob))
            await metadata.update(lambda txn: txn.release(blob))
            assert resources() == []

    async def test_a_lease_that_does_not_exist_holds_nothing(
        self, metadata: Metadata
    ) -> None:
        await metadata.update(
            lambda txn: txn.set_node(Node(LEASE, "other", "l"), root_until=FOREVER)
        )
        blob = Node("content", "ns", "x")
        with call.using(lease="l"):
            with pytest.raises(NotFound, match=r"^lease does not exist: not found$"):
                await metadata.update(lambda txn: txn.hold(blob))
            await metadata.update(lambda txn: txn.release(blob))

    async def test_figures_tell_what_is_stored(self, metadata: Metadata) -> None:
        await put(metadata, "a", "b")
        await metadata.update(lambda txn: emit(txn, "/a"))
        figures = await metadata.statistics()
        assert figures.provider
        assert figures.updates >= 2
        assert figures.entries[TABLE] == 2
        assert (figures.first_event, figures.last_event) == (1, 1)
