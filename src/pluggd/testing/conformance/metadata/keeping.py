# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is referred to stays, and the rest is collected."""

from __future__ import annotations

from pluggd.services.metadata import (
    FOREVER,
    Edge,
    Metadata,
    Node,
)
from pluggd.testing.conformance.base import Conformance
from pluggd.testing.conformance.metadata.graph import (
    blob,
    collected,
    drop,
    exists,
    image,
    prepare,
    snapshot,
    state,
)


class Keeping(Conformance):
    """What is referred to stays, and the rest is collected."""

    async def test_a_deleted_image_takes_with_it_what_it_alone_kept(
        self,
        metadata: Metadata,
    ) -> None:
        await prepare(metadata)
        await state(metadata, blob("base"))
        for name in "ab":
            await state(metadata, blob(f"layer-{name}"))
            layers = [blob("base"), blob(f"layer-{name}")]
            await state(metadata, blob(f"manifest-{name}"), layers)
            await state(metadata, image(name), [blob(f"manifest-{name}")], FOREVER)
        assert await collected(metadata) == set()
        await drop(metadata, image("a"))
        assert await collected(metadata) == {blob("manifest-a"), blob("layer-a")}
        await drop(metadata, image("b"))
        gone = {blob("manifest-b"), blob("layer-b"), blob("base")}
        assert await collected(metadata) == gone
        assert metadata.read(lambda view: list(view.nodes("", "ns"))) == []

    async def test_what_is_created_without_a_reference_is_collected(
        self,
        metadata: Metadata,
    ) -> None:
        await prepare(metadata)
        await state(metadata, blob("a"), [blob("b")])
        await state(metadata, blob("b"), [blob("a")])
        await state(metadata, blob("rooted"), root_until=FOREVER)
        assert await collected(metadata) == {blob("a"), blob("b")}

    async def test_a_circle_goes_when_nothing_outside_keeps_it(
        self, metadata: Metadata
    ) -> None:
        await prepare(metadata)
        await state(metadata, image("i"), [blob("a")], FOREVER)
        for one, other in ("ab", "bc", "ca"):
            await state(metadata, blob(one), [blob(other)])
        assert await collected(metadata) == set()
        await state(metadata, image("i"), [], FOREVER)
        assert await collected(metadata) == {blob("a"), blob("b"), blob("c")}

    async def test_an_object_that_refers_to_itself_is_not_its_own_keeper(
        self,
        metadata: Metadata,
    ) -> None:
        await prepare(metadata)
        await state(metadata, blob("a"), [blob("a")])
        assert await collected(metadata) == {blob("a")}

    async def test_a_reference_to_what_is_not_there_is_harmless(
        self, metadata: Metadata
    ) -> None:
        await prepare(metadata)
        await state(metadata, image("i"), [blob("later")], FOREVER)
        assert await collected(metadata) == set()
        await state(metadata, blob("later"))
        assert await collected(metadata) == set()
        await drop(metadata, blob("later"))
        await drop(metadata, image("i"))
        assert await collected(metadata) == set()

    async def test_namespaces_do_not_keep_each_others_objects(
        self, metadata: Metadata
    ) -> None:
        await prepare(metadata)
        await state(metadata, blob("same"))
        await state(metadata, blob("same", "other"))
        await state(metadata, image("i"), [blob("same")], FOREVER)
        assert await collected(metadata) == {blob("same", "other")}

    async def test_what_a_container_refers_to_lives_and_the_container_stays(
        self,
        metadata: Metadata,
    ) -> None:
        await prepare(metadata)
        container = Node("container", "ns", "c")
        await state(
            metadata, snapshot("top"), [Edge(snapshot("base"), structural=True)]
        )
        await state(metadata, snapshot("base"))
        await state(metadata, container, [snapshot("top")], FOREVER)
        assert await collected(metadata) == set()
        await state(metadata, container, [snapshot("top")])
        assert await collected(metadata) == {snapshot("top"), snapshot("base")}
        assert exists(metadata, container)

    async def test_the_same_key_in_two_snapshotters_is_two_objects(
        self,
        metadata: Metadata,
    ) -> None:
        await prepare(metadata)
        for snapshotter in ("native", "overlay"):
            await state(metadata, snapshot("s", snapshotter))
        await state(metadata, image("i"), [snapshot("s", "native")], FOREVER)
        assert await collected(metadata) == {snapshot("s", "overlay")}

    async def test_a_chain_lives_down_from_the_middle(self, metadata: Metadata) -> None:
        await prepare(metadata)
        for one, parent in ("ab", "bc", "cd"):
            edge = Edge(snapshot(parent), structural=True)
            await state(metadata, snapshot(one), [edge])
        await state(metadata, snapshot("d"))
        await state(metadata, image("i"), [snapshot("b")], FOREVER)
        assert await collected(metadata) == {snapshot("a")}

    async def test_back_references_keep_as_long_as_the_named_one_lives(
        self,
        metadata: Metadata,
    ) -> None:
        await prepare(metadata)
        await state(metadata, image("i"), [blob("a")], FOREVER)
        await state(metadata, blob("a"))
        await state(metadata, blob("child"), [Edge(blob("a"), back=True)])
        await state(metadata, blob("orphan"), [Edge(blob("none"), back=True)])
        assert await collected(metadata) == {blob("orphan")}
        await state(metadata, blob("grandchild"), [Edge(blob("child"), back=True)])
        assert await collected(metadata) == set()
        await drop(metadata, image("i"))
        gone = {blob("a"), blob("child"), blob("grandchild")}
        assert await collected(metadata) == gone

    async def test_back_references_to_what_was_removed_keep_nothing(
        self,
        metadata: Metadata,
    ) -> None:
        await prepare(metadata)
        await state(metadata, blob("parent"), root_until=FOREVER)
        await state(metadata, blob("child"), [Edge(blob("parent"), back=True)])
        assert await collected(metadata) == set()
        await drop(metadata, blob("parent"))
        assert await collected(metadata) == {blob("child")}

    async def test_a_label_taken_away_lets_go(self, metadata: Metadata) -> None:
        await prepare(metadata)
        await state(metadata, blob("x"))
        await state(metadata, blob("root"), [blob("x")], FOREVER)
        assert await collected(metadata) == set()
        await state(metadata, blob("root"), [], FOREVER)
        assert await collected(metadata) == {blob("x")}
        await state(metadata, blob("root"))
        assert await collected(metadata) == {blob("root")}
