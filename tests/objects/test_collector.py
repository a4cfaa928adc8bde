# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How the collector goes about it: bounded steps, retries, failures, what it costs."""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile
from time import perf_counter_ns
from typing import TypeVar

import pytest
import trio

from pluggd.errors import ResourceExhausted
from pluggd.objects import rows
from pluggd.objects.collector import BUDGET
from pluggd.objects.search import Life, Search
from pluggd.objects.tables import GRAPH
from pluggd.objects.transaction import ObjectTransaction
from pluggd.services import call
from pluggd.services.metadata import FOREVER, Edge, Node, ResourceType, Transaction
from pluggd.testing.memory import MemoryMetadata, memory_metadata

T = TypeVar("T")


def blob(name: object) -> Node:
    return Node("content", "n", str(name))


def nothing(txn: Transaction, node: Node) -> None:
    del txn, node


class WrittenBetween(MemoryMetadata):
    """Collects in the smallest steps; applies `change` before step number `turn`."""

    def __init__(self) -> None:
        super().__init__(budget=0)
        self.turn = 0
        self.change: Callable[[Transaction], None] | None = None

    async def update(
        self,
        function: Callable[[ObjectTransaction], T],
        *,
        reclaim: bool = False,
        long: bool = False,
    ) -> T:
        if reclaim:
            self.turn -= 1
            if self.turn == 0 and self.change is not None:
                await super().update(self.change)
        return await super().update(function, reclaim=reclaim, long=long)


class RunsTwice(MemoryMetadata):
    """Rolls back every update once and runs it again, as a provider may."""

    async def update(
        self,
        function: Callable[[ObjectTransaction], T],
        *,
        reclaim: bool = False,
        long: bool = False,
    ) -> T:
        class Again(Exception):
            pass

        def first(txn: ObjectTransaction) -> None:
            function(txn)
            raise Again

        with pytest.raises(Again):
            await super().update(first, reclaim=reclaim)
        return await super().update(function, reclaim=reclaim, long=long)


async def test_a_step_that_is_run_again_counts_once() -> None:
    store = RunsTwice()
    store.register(ResourceType("content", "blobs", nothing))

    def change(txn: Transaction) -> None:
        for number in range(50):
            txn.set_node(blob(number), [Edge(blob(number + 1))])

    await store.update(change)
    stats = await store.collect()
    assert stats.removed == {"content": 50}
    assert len(stats.objects) == 50


async def test_without_a_candidate_nothing_is_committed() -> None:
    async with memory_metadata() as store:
        store.register(ResourceType("content", "blobs", nothing))
        await store.update(lambda txn: txn.set_node(blob("a")))
        await store.update(lambda txn: txn.set_node(blob("b"), root_until=FOREVER))
        assert (await store.collect()).removed == {"content": 1}
        before = (await store.statistics()).updates
        stats = await store.collect()
        assert (stats.removed, stats.examined) == ({}, 0)
        assert (await store.statistics()).updates == before
        # What expires has no candidate before it is looked for.
        await store.update(lambda txn: txn.set_node(blob("b"), root_until=txn.now))
        assert (await store.collect()).removed == {"content": 1}


async def test_a_transaction_ends_soon_after_its_budget() -> None:
    async with memory_metadata() as store:

        def slow(txn: Transaction, node: Node) -> None:
            begun = perf_counter_ns()
            while perf_counter_ns() - begun < BUDGET // 4:
                pass

        store.register(ResourceType("content", "blobs", slow))

        def change(txn: Transaction) -> None:
            for number in range(20):
                txn.set_node(blob(number))

        await store.update(change)
        before = (await store.statistics()).updates
        assert (await store.collect()).removed == {"content": 20}
        assert (await store.statistics()).updates - before >= 5


async def test_garbage_that_is_made_during_a_collection_waits_for_the_next() -> None:
    async with memory_metadata() as store:
        made = 0

        def breed(txn: Transaction, node: Node) -> None:
            nonlocal made
            made += 1
            txn.set_node(blob(f"new-{made}"))

        store.register(ResourceType("content", "blobs", breed))

        def change(txn: Transaction) -> None:
            txn.set_node(blob("a"), [Edge(blob("b"))])
            txn.set_node(blob("b"))

        await store.update(change)
        with trio.fail_after(10):
            assert (await store.collect()).removed == {"content": 2}
        left = store.read(lambda view: list(view.nodes("", "n")))
        assert left == [blob("new-1"), blob("new-2")]


KEEPER = Node("image", "n", "keeper")


def add_a_reference(txn: Transaction) -> None:
    txn.set_node(KEEPER, [Edge(blob("a"))], root_until=FOREVER)


def create_what_is_named_as_keeper(txn: Transaction) -> None:
    txn.set_node(Node("image", "n", "named"), root_until=FOREVER)


def make_it_a_root(txn: Transaction) -> None:
    txn.set_node(
        blob("a"),
        [Edge(blob("b")), Edge(Node("image", "n", "named"), back=True)],
        root_until=FOREVER,
    )


def make_the_lease_whole(txn: Transaction) -> None:
    txn.set_node(Node("lease", "n", "flat"), [Edge(blob("a"))], root_until=FOREVER)


@pytest.mark.parametrize("turn", range(1, 8))
@pytest.mark.parametrize(
    ("change", "flat"),
    [
        (add_a_reference, False),
        (create_what_is_named_as_keeper, False),
        (make_it_a_root, False),
        (make_the_lease_whole, True),
    ],
)
async def test_support_that_comes_between_two_steps_is_seen(
    change: Callable[[Transaction], None], flat: bool, turn: int
) -> None:
    store = WrittenBetween()
    gone: list[Node] = []
    store.register(ResourceType("content", "b", lambda txn, node: gone.append(node)))

    def circle(txn: Transaction) -> None:
        named = Node("image", "n", "named")
        txn.set_node(blob("a"), [Edge(blob("b")), Edge(named, back=True)])
        txn.set_node(blob("b"), [Edge(blob("c"))])
        txn.set_node(blob("c"), [Edge(blob("a"))])
        if flat:
            lease = Node("lease", "n", "flat")
            txn.set_node(lease, [Edge(blob("a"))], root_until=FOREVER, flat=True)

    gone_then: list[Node] = []

    def change_and_look(txn: Transaction) -> None:
        change(txn)
        gone_then.extend(gone)

    await store.update(circle)
    store.turn, store.change = turn, change_and_look
    await store.collect()
    alive = list(takewhile(lambda node: node not in gone_then, map(blob, "abc")))
    if store.turn <= 0:
        assert not set(alive) & set(gone)


async def test_a_collection_works_on_a_full_disk_and_says_when_it_cannot() -> None:
    async with memory_metadata() as store:
        store.register(ResourceType("content", "blobs", nothing))
        await store.update(lambda txn: txn.set_node(blob("a")))
        store.full = True
        with pytest.raises(ResourceExhausted):
            await store.update(lambda txn: txn.set_node(blob("b")))
        assert (await store.collect()).removed == {"content": 1}


async def test_an_exhausted_disk_ends_the_collection_at_once() -> None:
    async with memory_metadata() as store:
        calls = 0

        def collect(txn: Transaction, node: Node) -> None:
            nonlocal calls
            calls += 1
            raise ResourceExhausted("no space left")

        store.register(ResourceType("content", "blobs", collect))

        def change(txn: Transaction) -> None:
            for number in range(5):
                txn.set_node(blob(number))

        await store.update(change)
        with pytest.raises(ResourceExhausted):
            await store.collect()
        assert calls == 1
        assert len(await store.plan()) == 5


async def test_an_object_is_collected_in_its_namespace_and_under_no_lease() -> None:
    async with memory_metadata() as store:
        seen: list[tuple[str, str]] = []

        def collect(txn: Transaction, node: Node) -> None:
            seen.append((call.namespace(), call.lease()))

        store.register(ResourceType("content", "blobs", collect))
        await store.update(lambda txn: txn.set_node(blob("a")))
        with call.using(namespace="other", lease="l"):
            await store.collect()
        assert seen == [("n", "")]


async def test_the_search_looks_at_a_few_keepers_of_a_shared_blob_only() -> None:
    async with memory_metadata() as store:

        def change(txn: Transaction) -> None:
            txn.set_node(blob("base"))
            for number in range(2000):
                image = Node("image", "n", str(number))
                txn.set_node(image, [Edge(blob("base"))], root_until=FOREVER)

        await store.update(change)

        def look(txn: ObjectTransaction) -> int:
            search = Search()
            id_ = txn.graph.id_of(blob("base"))
            assert id_ is not None
            assert search.life(txn.graph, id_) is Life.FULL
            return search.examined

        assert await store.update(look) <= 8


async def test_each_member_of_a_dead_circle_is_judged_once() -> None:
    size = 3000
    async with memory_metadata() as store:
        store.register(ResourceType("content", "blobs", nothing))

        def change(txn: Transaction) -> None:
            for number in range(size):
                near = [blob((number + step) % size) for step in (1, 2)]
                txn.set_node(blob(number), [Edge(node) for node in near])

        await store.update(change)
        stats = await store.collect()
        assert stats.removed == {"content": size}
        assert stats.examined == size


async def test_a_collect_function_can_save_what_was_found_to_be_dead() -> None:
    async with memory_metadata() as store:

        def collect(txn: Transaction, node: Node) -> None:
            if node == blob("a"):
                txn.set_node(KEEPER, [Edge(blob("b"))], root_until=FOREVER)

        store.register(ResourceType("content", "blobs", collect))

        def circle(txn: Transaction) -> None:
            txn.set_node(blob("a"), [Edge(blob("b"))])
            txn.set_node(blob("b"), [Edge(blob("c"))])
            txn.set_node(blob("c"), [Edge(blob("a"))])

        await store.update(circle)
        assert (await store.collect()).removed == {"content": 1}
        left = store.read(lambda view: list(view.nodes("content", "n")))
        assert left == [blob("b"), blob("c")]


async def test_what_was_learned_in_a_step_that_was_rolled_back_is_forgotten() -> None:
    store = RunsTwice()
    runs = 0

    def collect(txn: Transaction, node: Node) -> None:
        nonlocal runs
        if node == blob("a"):
            runs += 1
            if runs % 2:
                # Only in the run that is rolled back does this go.
                txn.drop_node(KEEPER)

    store.register(ResourceType("content", "blobs", collect))

    def change(txn: Transaction) -> None:
        txn.set_node(blob("a"))
        txn.set_node(KEEPER, [Edge(blob("b"))], root_until=FOREVER)
        txn.set_node(blob("b"), [Edge(blob("c"))])
        txn.set_node(blob("c"), [Edge(blob("b"))])

    await store.update(change)
    assert (await store.collect()).removed == {"content": 1}
    left = store.read(lambda view: list(view.nodes("content", "n")))
    assert left == [blob("b"), blob("c")]


async def test_nothing_is_noted_after_a_collection_of_many_steps() -> None:
    store = MemoryMetadata(budget=0)
    store.register(ResourceType("content", "blobs", nothing))

    def change(txn: Transaction) -> None:
        for name in "abc":
            txn.set_node(blob(name), [Edge(blob("a"))])

    await store.update(change)
    await store.collect()
    await store.update(change)
    assert list(store.kv.seek(GRAPH, rows.GAINED, rows.EXPIRY)) == []


async def test_the_one_living_keeper_among_many_dead_is_found() -> None:
    async with memory_metadata() as store:
        store.register(ResourceType("content", "blobs", nothing))

        def change(txn: Transaction) -> None:
            for number in range(30):
                txn.set_node(Node("note", "n", f"{number:02}"), [Edge(blob("a"))])
            txn.set_node(KEEPER, [Edge(blob("a"))], root_until=FOREVER)
            txn.set_node(blob("a"))

        await store.update(change)
        assert (await store.collect()).removed == {}
        await store.update(lambda txn: txn.drop_node(KEEPER))
        assert (await store.collect()).removed == {"content": 1}


async def test_a_circle_of_what_is_never_collected_does_not_stop_the_collector() -> (
    None
):
    async with memory_metadata() as store:
        store.register(ResourceType("content", "blobs", nothing))
        notes = [Node("note", "n", name) for name in "abc"]

        def change(txn: Transaction) -> None:
            for node, other in zip(notes, notes[1:] + notes[:1], strict=True):
                txn.set_node(node, [Edge(other)])
            txn.set_node(blob("x"))
            txn.add_edge(notes[1], Edge(blob("x")))

        await store.update(change)
        with trio.fail_after(10):
            assert (await store.collect()).removed == {"content": 1}
