# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The rules of `pluggd.gc.v1`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import pytest
import trio

from pluggd.errors import FailedPrecondition, InvalidArgument
from pluggd.services import call
from pluggd.services.gc import Gc
from pluggd.services.metadata import (
    FOREVER,
    Edge,
    Metadata,
    Node,
    ResourceType,
    Transaction,
)
from pluggd.testing.conformance.base import Conformance, missing, needs

ROOT = "root"


THING = "thing"


NS = "ns"


@dataclass
class GcStand:
    gc: Gc
    metadata: Metadata
    removed: list[str]
    collected: trio.Event = field(default_factory=trio.Event)

    async def things(self) -> list[str]:
        """The names of the things that there are."""
        return await self.metadata.view(
            lambda view: [node.name for node in view.nodes(THING, NS)]
        )

    async def until_nothing_is_left(self) -> None:
        """Wait for a collection after which there is no thing."""
        while True:
            self.collected = trio.Event()
            if not await self.things():
                return
            await self.collected.wait()

    async def thing(self, name: str, *refers_to: str) -> None:
        edges = [Edge(Node(THING, NS, other)) for other in refers_to]
        await self.metadata.update(
            lambda txn: txn.set_node(Node(THING, NS, name), edges)
        )

    async def root(self, name: str, *refers_to: str, until: int = FOREVER) -> None:
        edges = [Edge(Node(THING, NS, other)) for other in refers_to]
        await self.metadata.update(
            lambda txn: txn.set_node(Node(ROOT, NS, name), edges, root_until=until)
        )

    async def drop_root(self, name: str) -> None:
        await self.metadata.update(lambda txn: txn.drop_node(Node(ROOT, NS, name)))


def gc_stand(gc: Gc, metadata: Metadata) -> GcStand:
    """A stand on these two; registers the types."""
    removed: list[str] = []

    def collect(txn: Transaction, node: Node) -> None:
        removed.append(node.name)

    async def clean_up() -> int:
        await trio.lowlevel.checkpoint()
        stand.collected.set()
        return 0

    stand = GcStand(gc, metadata, removed)
    metadata.register(ResourceType(ROOT, "roots", collect, cleanup=clean_up))
    metadata.register(ResourceType(THING, "things", collect))
    metadata.register(ResourceType("box/", "boxes", collect))
    return stand


class GcConformance(Conformance):
    """What every provider of `pluggd.gc.v1` promises.

    Provide the fixture `gc`, its first collection over or not planned.
    """

    optional: ClassVar[Mapping[str, str]] = {
        **Conformance.optional,
        "expiry": "it collects by itself what expires",
    }

    @pytest.fixture
    def gc(self) -> Gc:
        """The provider, empty. Yours to override."""
        missing(type(self), "gc")

    @pytest.fixture
    def stand(self, gc: Gc, metadata: Metadata) -> GcStand:
        return gc_stand(gc, metadata)

    async def test_waiting_means_that_what_was_deleted_before_is_gone(
        self, stand: GcStand
    ) -> None:
        await stand.thing("leaf")
        await stand.thing("middle", "leaf")
        await stand.root("r", "middle")
        await stand.drop_root("r")
        await stand.gc.run(wait=True)
        assert await stand.things() == []
        assert sorted(stand.removed) == ["leaf", "middle"]

    async def test_the_answer_tells_what_was_removed(self, stand: GcStand) -> None:
        for _ in range(20):  # one that the provider begins by itself may be faster
            await stand.root("r", "middle")
            await stand.thing("middle", "leaf")
            await stand.thing("leaf")
            await stand.drop_root("r")
            stats = await stand.gc.run(wait=True)
            assert stats is not None
            if stats.removed:
                assert stats.removed == {THING: 2}
                assert sorted(one.name for one in stats.objects) == ["leaf", "middle"]
                return
        pytest.fail("in 20 rounds no answer told of anything removed")

    async def test_what_is_referred_to_stays(self, stand: GcStand) -> None:
        await stand.root("one", "shared")
        await stand.root("two", "shared")
        await stand.thing("shared")
        await stand.drop_root("one")
        await stand.gc.run(wait=True)
        assert await stand.things() == ["shared"]

    async def test_not_waiting_returns_nothing_and_it_happens_all_the_same(
        self,
        stand: GcStand,
    ) -> None:
        await stand.thing("a")
        await stand.root("r", "a")
        await stand.drop_root("r")
        assert await stand.gc.run() is None
        await stand.until_nothing_is_left()

    async def test_a_full_collection_finds_cycles(self, stand: GcStand) -> None:
        await stand.thing("b")
        await stand.thing("a", "b")
        await stand.thing("b", "a")
        await stand.root("r", "a")
        await stand.drop_root("r")
        stats = await stand.gc.run(wait=True, full=True)
        assert stats is not None
        assert stats.full
        assert await stand.things() == []

    async def test_the_plan_names_what_would_go_and_removes_nothing(
        self, stand: GcStand
    ) -> None:
        for name in ("kept", "lost"):
            await stand.root(f"root of {name}", name)
            await stand.thing(name)
        await stand.drop_root("root of lost")
        plan = await stand.gc.plan()
        things = await stand.things()
        if "lost" not in stand.removed:  # by one that the provider began by itself
            assert [(one.type, one.name) for one in plan.objects] == [(THING, "lost")]
            assert things == ["kept", "lost"]

    async def test_an_object_is_explained_by_the_path_from_a_root(
        self, stand: GcStand
    ) -> None:
        await stand.root("r", "middle")
        await stand.thing("middle", "leaf")
        await stand.thing("leaf")
        with call.using(namespace=NS):
            found = await stand.gc.explain(name="leaf", type=THING)
            assert found.exists
            assert [(one.type, one.name) for one in found.path] == [
                (ROOT, "r"),
                (THING, "middle"),
                (THING, "leaf"),
            ]
            assert (await stand.gc.explain(name="nobody", type=THING)).path == []
        with call.using(namespace="elsewhere"):
            assert not (await stand.gc.explain(name="leaf", type=THING)).exists

    async def test_an_unknown_type_is_refused_with_those_that_there_are(
        self, stand: GcStand
    ) -> None:
        with call.using(namespace=NS):
            for type_ in ("things", "", "box", "box/"):
                with pytest.raises(InvalidArgument, match=r"box/<name>, root, thing"):
                    await stand.gc.explain(name="x", type=type_)
            assert not (await stand.gc.explain(name="x", type="box/small")).exists
            with pytest.raises(InvalidArgument, match="name"):
                await stand.gc.explain(name="", type=THING)

    async def test_explaining_needs_a_namespace(self, stand: GcStand) -> None:
        with pytest.raises(FailedPrecondition, match="namespace is required"):
            await stand.gc.explain(name="x", type=THING)

    @needs("expiry")
    async def test_what_expires_goes_without_a_change_or_a_request(
        self, stand: GcStand
    ) -> None:
        await stand.thing("a")
        await stand.root("r", "a", until=time.time_ns() + 50_000_000)
        await stand.until_nothing_is_left()

    async def test_the_status_counts_collections_and_shows_the_last(
        self, stand: GcStand
    ) -> None:
        before = (await stand.gc.status()).collections
        stats = await stand.gc.run(wait=True)
        status = await stand.gc.status()
        assert status.collections > before
        assert status.failures == 0
        assert status.last_at > 0
        assert status.last is not None
        assert stats is not None
        assert status.reason
