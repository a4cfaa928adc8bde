# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The full mark finds what a lost candidate or a damaged index left behind."""

from __future__ import annotations

from functools import partial

import pytest

from pluggd.model.record import decode, encode
from pluggd.objects import rows
from pluggd.objects.mark import MarkResult, mark
from pluggd.objects.tables import CANDIDATES, GRAPH
from pluggd.services.metadata import FOREVER, Edge, Node, ResourceType, Transaction
from pluggd.testing.memory import MemoryMetadata, memory_metadata

IMAGE = Node("image", "n", "i")
A, B = Node("content", "n", "a"), Node("content", "n", "b")


def state_chain(txn: Transaction) -> None:
    txn.set_node(IMAGE, [Edge(A)], root_until=FOREVER)
    txn.set_node(A, [Edge(B)])
    txn.set_node(B)


def existing(store: MemoryMetadata) -> list[Node]:
    return store.read(lambda view: list(view.nodes("", "n")))


def register(store: MemoryMetadata) -> None:
    store.register(ResourceType("content", "blobs", lambda txn, node: None))


async def test_a_full_collection_finds_garbage_that_is_no_candidate() -> None:
    async with memory_metadata() as store:
        register(store)
        await store.update(state_chain)
        await store.update(lambda txn: txn.drop_node(IMAGE))
        for key, _ in list(store.kv.seek(CANDIDATES, b"")):
            store.kv.delete(CANDIDATES, key)
        assert (await store.collect()).removed == {}
        assert (await store.collect(full=True)).removed == {"content": 2}
        assert existing(store) == []


@pytest.mark.parametrize("side", [0, rows.OUT])
async def test_an_edge_missing_at_one_end_is_repaired_before_anything_goes(
    side: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with memory_metadata() as store:
        register(store)
        await store.update(state_chain)
        whole = list(store.kv.seek(GRAPH, rows.NODE))
        for key, _ in whole:
            if len(key) > rows.NODE_KEY and key[rows.NODE_KEY] & rows.OUT == side:
                store.kv.delete(GRAPH, key)
        assert len(mark(store.kv, 0).broken) == 2
        assert (await store.collect(full=True)).removed == {}
        assert existing(store) == [A, B, IMAGE]
        assert list(store.kv.seek(GRAPH, rows.NODE)) == whole
        assert "2 edges are missing at one end" in caplog.text


async def test_the_id_of_a_node_that_is_gone_never_comes_again() -> None:
    """A mark names nodes by id; what it says of a dead one must not meet a new one."""
    async with memory_metadata() as store:
        nodes = [Node("content", "n", str(number)) for number in range(4)]
        for node in nodes:
            await store.update(partial(state, node))
        given = ids(store)
        # The newest; one in between; all, which leaves no row to go by.
        for gone in (nodes[3:], nodes[1:2], nodes):
            for node in gone:
                await store.update(partial(drop, node))
            kept = ids(store)
            for node in gone:
                await store.update(partial(state, node))
            new = ids(store) - kept
            assert len(new) == len(gone)
            assert not new & given
            given |= new


def ids(store: MemoryMetadata) -> set[bytes]:
    return {key[1:] for key, _ in store.kv.seek(GRAPH, rows.NODE)}


def state(node: Node, txn: Transaction) -> None:
    txn.set_node(node)


def drop(node: Node, txn: Transaction) -> None:
    txn.drop_node(node)


async def test_a_mark_travels_between_processes() -> None:
    async with memory_metadata() as store:
        await store.update(lambda txn: txn.set_node(A))
        result = mark(store.kv, 0)
        assert (len(result.unreached), result.reached) == (1, 0)
        assert decode(encode(result), MarkResult) == result
