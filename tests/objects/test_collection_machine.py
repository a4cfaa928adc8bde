# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Any history of statements against a plain model with brute-force reachability.

After every collection the store holds exactly what the model's roots reach, and
what is never collected. The mark and the plan must give the same answer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import hypothesis.strategies as st
import trio
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from pluggd.objects.mark import mark
from pluggd.objects.tables import CANDIDATES, EDGES_OUT, EXPIRY, NODE_IDS, NODES
from pluggd.services.metadata import (
    FOREVER,
    NEVER,
    Edge,
    Node,
    ResourceType,
    Transaction,
    View,
)
from pluggd.testing.memory import MemoryMetadata

TYPES = ("content", "image", "lease", "snapshot/native", "container", "unknown")
COLLECTABLE = ("content", "image", "lease", "snapshot/native")

nodes = st.builds(
    Node,
    st.sampled_from(TYPES),
    st.sampled_from(("a", "b")),
    st.sampled_from(("x", "y", "z")),
)
edges = st.builds(Edge, nodes, st.booleans(), st.booleans())
edge_lists = st.lists(edges, max_size=3)


class Stated(NamedTuple):
    edges: frozenset[Edge]
    root_until: int
    flat: bool


def edges_of(node: Node, view: View) -> list[Edge]:
    return view.edges(node)


class Collection(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.now = 100
        self.stated: dict[Node, Stated] = {}
        self.added: set[tuple[Node, Edge]] = set()
        self.removed: list[Node] = []
        self.store = MemoryMetadata(lambda: self.now)
        for type_ in ("content", "image", "lease", "snapshot/"):
            self.store.register(ResourceType(type_, type_, self.collected))
        self.store.register(ResourceType("container", "containers", None))

    def collected(self, txn: Transaction, node: Node) -> None:
        self.removed.append(node)

    def update(self, function: Callable[[Transaction], object]) -> None:
        trio.run(self.store.update, function)

    # --- what happens

    @rule(
        many=st.lists(
            st.tuples(
                nodes,
                edge_lists,
                st.one_of(st.sampled_from((NEVER, NEVER, FOREVER)), st.integers(1, 20)),
                st.booleans(),
            ),
            min_size=1,
            max_size=4,
        )
    )
    def set_nodes(self, many: list[tuple[Node, list[Edge], int, bool]]) -> None:
        def change(txn: Transaction) -> None:
            for node, edges, root, flat in many:
                until = root if root <= 0 else self.now - 10 + root
                txn.set_node(node, edges, root_until=until, flat=flat)
                self.stated[node] = Stated(frozenset(edges), until, flat)

        self.update(change)

    @rule(many=st.lists(nodes, min_size=1, max_size=3))
    def drop_nodes(self, many: list[Node]) -> None:
        def change(txn: Transaction) -> None:
            for node in many:
                txn.drop_node(node)
                self.forget(node)

        self.update(change)

    def forget(self, node: Node) -> None:
        self.stated.pop(node, None)
        self.added = {one for one in self.added if one[0] != node}

    @rule(data=st.data(), edge=edges)
    def add_edge(self, data: st.DataObject, edge: Edge) -> None:
        if self.stated:
            node = data.draw(st.sampled_from(sorted(self.stated)))
            self.update(lambda txn: txn.add_edge(node, edge))
            self.added.add((node, edge))

    @rule(data=st.data())
    def remove_edge(self, data: st.DataObject) -> None:
        if self.added:
            one = data.draw(st.sampled_from(sorted(self.added)))
            self.update(lambda txn: txn.remove_edge(*one))
            self.added.discard(one)

    @rule(passed=st.integers(1, 8))
    def time_passes(self, passed: int) -> None:
        self.now += passed

    @rule(full=st.booleans())
    def collect(self, full: bool) -> None:
        expected = {
            node
            for node in set(self.stated) - self.reached()
            if node.type in COLLECTABLE
        }
        plan = trio.run(self.store.plan)
        assert {Node(one.type, one.namespace, one.name) for one in plan} == expected
        self.removed.clear()

        async def collect() -> int:
            stats = await self.store.collect(full=full)
            return sum(stats.removed.values())

        assert trio.run(collect) == len(expected)
        assert sorted(self.removed) == sorted(expected)
        for node in expected:
            self.forget(node)
        sizes = self.store.kv.table_sizes()
        assert sizes[CANDIDATES] == 0

    # --- what holds

    @invariant()
    def the_store_holds_what_the_model_holds(self) -> None:
        found = self.store.read(
            lambda view: {
                node for namespace in ("a", "b") for node in view.nodes("", namespace)
            }
        )
        assert found == set(self.stated)

    @invariant()
    def the_edges_are_those_that_were_stated(self) -> None:
        for node, stated in self.stated.items():
            own = stated.edges | {edge for one, edge in self.added if one == node}
            assert set(self.store.read(partial(edges_of, node))) == own

    @invariant()
    def both_ends_of_every_edge_are_there_and_no_row_is_left_over(self) -> None:
        kv = self.store.kv
        assert mark(kv, self.now).broken == []
        connected = {
            end for key, _ in kv.seek(EDGES_OUT, b"") for end in (key[:8], key[9:])
        }
        stored = {key for key, _ in kv.seek(NODES, b"")}
        assert len(stored) == kv.table_sizes()[NODE_IDS]
        assert connected <= stored
        assert len(stored - connected) <= len(self.stated)
        expiring = [one for one in self.stated.values() if one.root_until > 0]
        assert kv.table_sizes()[EXPIRY] <= len(expiring)

    @invariant()
    def the_mark_reaches_what_the_model_reaches(self) -> None:
        kv = self.store.kv
        result = mark(kv, self.now)
        reached = self.reached()
        assert result.reached == len(reached)
        assert len(result.unreached) == len(self.stated) - len(reached)

    @invariant()
    def an_explanation_is_there_for_what_is_reached(self) -> None:
        reached = self.reached()
        for node in self.stated:
            found = trio.run(self.store.explain, node)
            assert found.exists
            assert bool(found.path) == (node in reached)
            if found.path:
                last = found.path[-1]
                assert node == Node(last.type, last.namespace, last.name)

    # --- the model

    def reached(self) -> set[Node]:
        """(node, followed whole) from the roots down, by brute force."""
        arcs: set[tuple[Node, Node, bool]] = set()
        for node, stated in self.stated.items():
            for edge in stated.edges | {e for one, e in self.added if one == node}:
                ends = (edge.target, node) if edge.back else (node, edge.target)
                arcs.add((*ends, edge.structural))
        live = {
            (node, True)
            for node, stated in self.stated.items()
            if stated.root_until == FOREVER or stated.root_until > self.now
        }
        while True:
            more = {
                (kept, whole and not self.stated[keeper].flat)
                for keeper, kept, structural in arcs
                if keeper in self.stated and kept in self.stated
                for whole in (True, False)
                if (keeper, whole) in live and (whole or structural)
            }
            if more <= live:
                return {node for node, _ in live}
            live |= more


TestCollection = Collection.TestCase
TestCollection.settings = settings(
    max_examples=150, stateful_step_count=25, deadline=None
)
