# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How a collection goes about it."""

from __future__ import annotations

import time

import pytest
import trio

from pluggd.errors import PluggdError
from pluggd.services import call
from pluggd.services.metadata import (
    FOREVER,
    Edge,
    Metadata,
    Node,
    ResourceType,
    Transaction,
)
from pluggd.testing.conformance.base import Conformance
from pluggd.testing.conformance.metadata.graph import (
    blob,
    collected,
    drop,
    exists,
    image,
    lease,
    prepare,
    state,
)


class Collecting(Conformance):
    """How a collection goes about it."""

    async def test_only_the_types_that_can_be_collected_are(
        self, metadata: Metadata
    ) -> None:
        await prepare(metadata)
        strange = Node("strange", "ns", "s")
        await state(metadata, strange, [blob("a")])
        await state(metadata, blob("a"), [strange])
        assert await collected(metadata) == {blob("a")}
        assert exists(metadata, strange)

    async def test_a_full_collection_finds_the_same(self, metadata: Metadata) -> None:
        await prepare(metadata)
        await state(metadata, image("i"), [blob("a")], FOREVER)
        await state(metadata, blob("a"), [blob("b")])
        await state(metadata, blob("b"))
        assert await collected(metadata, full=True) == set()
        await drop(metadata, image("i"))
        assert await collected(metadata, full=True) == {blob("a"), blob("b")}

    async def test_a_thousand_objects_go_in_one_call(self, metadata: Metadata) -> None:
        await prepare(metadata)

        def change(txn: Transaction) -> None:
            for number in range(1500):
                txn.set_node(blob(f"{number:05}"), [Edge(blob(f"{number + 1:05}"))])

        await metadata.update(change)
        stats = await metadata.collect()
        assert stats.removed == {"content": 1500}
        assert len(stats.objects) == 1000
        assert stats.examined >= 1500
        assert 0 < stats.pause <= stats.elapsed
        assert metadata.read(lambda view: list(view.nodes("", "ns"))) == []

    async def test_cleanup_runs_once_at_the_end_and_its_failure_is_not_the_collections(
        self,
        metadata: Metadata,
    ) -> None:
        calls: list[str] = []

        async def good() -> int:
            calls.append("good")
            await trio.lowlevel.checkpoint()
            return 7

        async def bad() -> int:
            calls.append("bad")
            raise OSError("disk on fire")

        def collect(txn: Transaction, node: Node) -> None:
            calls.append(node.name)

        metadata.register(ResourceType("content", "blobs", collect, cleanup=bad))
        metadata.register(ResourceType("ingest", "ingests", collect, cleanup=good))
        metadata.register(ResourceType("other", "others", collect, cleanup=good))
        await metadata.update(lambda txn: txn.set_node(blob("a")))
        stats = await metadata.collect()
        assert calls == ["a", "bad", "good"]
        assert stats.freed_bytes == 7
        assert stats.left == {"content": "disk on fire"}

    async def test_one_object_that_cannot_be_collected_does_not_stop_the_others(
        self,
        metadata: Metadata,
    ) -> None:
        broken = True

        def collect(txn: Transaction, node: Node) -> None:
            if broken and node.name == "bad":
                raise ValueError("no")

        metadata.register(ResourceType("content", "blobs", collect))

        def change(txn: Transaction) -> None:
            txn.set_node(blob("bad"), [Edge(blob("below"))])
            for name in ("a", "below", "z"):
                txn.set_node(blob(name))

        await metadata.update(change)
        with pytest.raises(PluggdError, match="could not be collected"):
            await metadata.collect()
        left = metadata.read(lambda view: [node.name for node in view.nodes("", "ns")])
        assert "bad" in left
        assert not {"a", "z"} & set(left)
        broken = False
        await metadata.collect()
        assert metadata.read(lambda view: list(view.nodes("", "ns"))) == []

    async def test_a_change_says_whether_something_may_be_collectable(
        self,
        metadata: Metadata,
    ) -> None:
        await prepare(metadata)
        await metadata.collect()
        heard: list[bool] = []
        metadata.on_change(heard.append)
        await state(metadata, blob("a"))
        await state(metadata, image("i"), [blob("a")], FOREVER)
        assert heard == [False, False]
        await drop(metadata, image("i"))
        await state(metadata, image("j"), [], FOREVER)
        assert heard == [False, False, True, True]
        await metadata.collect()
        assert heard == [False, False, True, True]
        await state(metadata, image("k"), [], FOREVER)
        assert heard == [False, False, True, True, False]

    async def test_writers_and_collections_do_not_disturb_each_other(
        self,
        metadata: Metadata,
    ) -> None:
        await prepare(metadata)
        done = False

        async def pull(number: int) -> None:
            for turn in range(5):
                name = f"{number}-{turn}"
                await state(metadata, lease(name), root_until=FOREVER)
                with call.using(lease=name):

                    def fetch(txn: Transaction, name: str = name) -> None:
                        txn.set_node(blob(name))
                        txn.hold(blob(name))

                    await metadata.update(fetch)
                    await state(metadata, image(name), [blob(name)], FOREVER)
                await drop(metadata, lease(name))
                assert exists(metadata, blob(name)), f"{name} went, but was kept"
                if turn % 2:
                    await drop(metadata, image(name))

        async def keep_collecting() -> None:
            while not done:
                await metadata.collect()
                await trio.lowlevel.checkpoint()

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(keep_collecting)
                async with trio.open_nursery() as pulls:
                    for number in range(10):
                        pulls.start_soon(pull, number)
                done = True
        await metadata.collect()
        left = metadata.read(lambda view: {node.name for node in view.nodes("", "ns")})
        assert left == {
            f"{number}-{turn}" for number in range(10) for turn in (0, 2, 4)
        }

    async def test_concurrent_collections_run_one_after_the_other(
        self, metadata: Metadata
    ) -> None:
        running = 0

        async def cleanup() -> int:
            nonlocal running
            running += 1
            assert running == 1
            for _ in range(5):
                await trio.lowlevel.checkpoint()
            running -= 1
            return 0

        metadata.register(ResourceType("content", "blobs", None, cleanup=cleanup))
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(metadata.collect)

    async def test_a_limit_ends_a_collection_and_the_next_goes_on(
        self, metadata: Metadata
    ) -> None:
        await prepare(metadata)

        def change(txn: Transaction) -> None:
            for number in range(10):
                txn.set_node(blob(f"{number}"), [Edge(blob(f"{number + 1}"))])

        await metadata.update(change)
        stats = await metadata.collect(limit=4)
        assert stats.removed == {"content": 4}
        assert stats.more
        stats = await metadata.collect(limit=4)
        assert (stats.removed, stats.more) == ({"content": 4}, True)
        stats = await metadata.collect(limit=4)
        assert (stats.removed, stats.more) == ({"content": 2}, False)
        assert metadata.read(lambda view: list(view.nodes("", "ns"))) == []

    async def test_what_gained_support_between_two_parts_is_kept(
        self, metadata: Metadata
    ) -> None:
        await prepare(metadata)
        await state(metadata, blob("a"))
        await state(metadata, blob("b"))
        await metadata.collect(limit=1)
        left = metadata.read(lambda view: list(view.nodes("content", "ns")))
        assert len(left) == 1
        await state(metadata, image("i"), left, FOREVER)
        assert await collected(metadata) == set()
        assert exists(metadata, left[0])

    async def test_what_was_set_free_lately_can_be_left(
        self, metadata: Metadata
    ) -> None:
        await prepare(metadata)
        await state(metadata, blob("leaf"))
        await state(metadata, blob("old"), [blob("leaf")])
        await state(metadata, image("i"), [blob("old")], FOREVER)
        await drop(metadata, image("i"))
        stats = await metadata.collect(keep_for=3600)
        assert (stats.removed, stats.more) == ({}, False)
        assert exists(metadata, blob("old"))
        freed_at = time.time_ns()
        while time.time_ns() - freed_at < 2_000_000:
            await trio.lowlevel.checkpoint()
        # What it kept is as old as itself, though it is set free only now.
        stats = await metadata.collect(keep_for=0.001)
        assert stats.removed == {"content": 2}
