# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Any history of statements against a plain model with brute-force reachability.

After every collection the store holds exactly what the model's roots reach, and
what is never collected. The mark and the plan must give the same answer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar

import hypothesis.strategies as st
import trio
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from pluggd.objects import rows
from pluggd.objects.mark import mark
from pluggd.objects.tables import CANDIDATES, GRAPH
from pluggd.objects.transaction import ObjectTransaction
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

T = TypeVar("T")

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
roots = st.one_of(st.sampled_from((NEVER, NEVER, FOREVER)), st.integers(1, 20))
statements = st.lists(
    st.tuples(nodes, edge_lists, roots, st.booleans()), min_size=1, max_size=4
)
Statement = tuple[Node, list[Edge], int, bool]


class Stated(NamedTuple):
    edges: frozenset[Edge]
    root_until: int
    flat: bool


def edges_of(node: Node, view: View) -> list[Edge]:
    return view.edges(node)


class Interrupted(MemoryMetadata):
    """Applies one change of `between` before each update, and collects in small steps."""

    def __init__(self, clock: Callable[[], int]) -> None:
        super().__init__(clock, budget=0)
        self.between: list[Callable[[Transaction], object]] = []

    async def update(
        self,
        function: Callable[[ObjectTransaction], T],
        *,
        reclaim: bool = False,
        long: bool = False,
    ) -> T:
        if self.between:
            await super().update(self.between.pop(0))
        return await super().update(function, reclaim=reclaim, long=long)


class Collection(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.now = 100
        self.stated: dict[Node, Stated] = {}
        self.added: set[tuple[Node, Edge]] = set()
        self.removed: list[Node] = []
        self.store = Interrupted(lambda: self.now)
        for type_ in ("content", "image", "lease", "snapshot/"):
            self.store.register(ResourceType(type_, type_, self.collected))
        self.store.register(ResourceType("container", "containers", None))

    def collected(self, txn: Transaction, node: Node) -> None:
        assert node not in self.reached(), f"{node} is kept by something"
        self.removed.append(node)
        self.forget(node)

    def update(self, function: Callable[[Transaction], object]) -> None:
        trio.run(self.store.update, function)

    # --- what happens

    @rule(many=statements)
    def set_nodes(self, many: list[Statement]) -> None:
        self.update(self.setting(many))

    def setting(self, many: list[Statement]) -> Callable[[Transaction], object]:
        def change(txn: Transaction) -> None:
            for node, edges, root, flat in many:
                until = root if root <= 0 else self.now - 10 + root
                txn.set_node(node, edges, root_until=until, flat=flat)
                self.stated[node] = Stated(frozenset(edges), until, flat)

        return change

    @rule(many=st.lists(nodes, min_size=1, max_size=3))
    def drop_nodes(self, many: list[Node]) -> None:
        self.update(self.dropping(many))

    def dropping(self, many: list[Node]) -> Callable[[Transaction], object]:
        def change(txn: Transaction) -> None:
            for node in many:
                txn.drop_node(node)
                self.forget(node)

        return change

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
        kv = self.store.kv
        assert kv.table_sizes()[CANDIDATES] == 0
        assert list(kv.seek(GRAPH, rows.GAINED, rows.EXPIRY)) == []

    @rule(
        between=st.lists(
            st.one_of(
                st.tuples(statements, st.none()),
                st.tuples(st.none(), st.lists(nodes, min_size=1, max_size=2)),
            ),
            min_size=1,
        )
    )
    def collect_while_others_write(
        self, between: list[tuple[list[Statement] | None, list[Node] | None]]
    ) -> None:
        """One change before each transaction of the collector, which does little in
        each. What it removes must be dead at that moment (`collected`)."""
        unreached = set(self.stated) - self.reached()
        touched: set[Node] = set()
        for setting, dropping in between:
            if setting is not None:
                self.store.between.append(self.setting(setting))
                touched.update(node for node, *_ in setting)
                touched.update(edge.target for _, es, *_ in setting for edge in es)
            if dropping is not None:
                self.store.between.append(self.dropping(dropping))
        trio.run(self.store.collect)
        self.store.between.clear()
        if not touched:
            left = {node for node in unreached if node.type in COLLECTABLE}
            assert not left & set(self.stated)

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
        nodes = [key for key, _ in kv.seek(GRAPH, rows.NODE)]
        stored = {key[1:] for key in nodes if len(key) == rows.NODE_KEY}
        edges = {rows.edge(key) for key in nodes if len(key) > rows.NODE_KEY}
        connected = {end for keeper, _, kept in edges for end in (keeper, kept)}
        assert 2 * len(edges) == len(nodes) - len(stored)
        assert stored == {id_ for _, id_ in kv.seek(GRAPH, b"", rows.NAMES_END)}
        assert connected <= stored
        assert len(stored - connected) <= len(self.stated)
        expiring = [one for one in self.stated.values() if one.root_until > 0]
        expiry = list(kv.seek(GRAPH, rows.EXPIRY, rows.SEQUENCE))
        assert len(expiry) <= len(expiring)

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
