# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What every provider of `pluggd.metadata.v1` promises: collection.

Each function takes an empty provider; `SUITE` has them all. The cases are those
of containerd's own tests (TestGCRoots, TestGCRefs, TestMetadataCollector).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

import pytest
import trio

from pluggd.errors import PluggdError
from pluggd.model.record import decode
from pluggd.services import call
from pluggd.services.envelope import Envelope
from pluggd.services.metadata import (
    FOREVER,
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


# --- what keeps what


async def a_deleted_image_takes_with_it_what_it_alone_kept(
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


async def what_is_created_without_a_reference_is_collected(
    metadata: Metadata,
) -> None:
    await prepare(metadata)
    await state(metadata, blob("a"), [blob("b")])
    await state(metadata, blob("b"), [blob("a")])
    await state(metadata, blob("rooted"), root_until=FOREVER)
    assert await collected(metadata) == {blob("a"), blob("b")}


async def a_circle_goes_when_nothing_outside_keeps_it(metadata: Metadata) -> None:
    await prepare(metadata)
    await state(metadata, image("i"), [blob("a")], FOREVER)
    for one, other in ("ab", "bc", "ca"):
        await state(metadata, blob(one), [blob(other)])
    assert await collected(metadata) == set()
    await state(metadata, image("i"), [], FOREVER)
    assert await collected(metadata) == {blob("a"), blob("b"), blob("c")}


async def an_object_that_refers_to_itself_is_not_its_own_keeper(
    metadata: Metadata,
) -> None:
    await prepare(metadata)
    await state(metadata, blob("a"), [blob("a")])
    assert await collected(metadata) == {blob("a")}


async def a_reference_to_what_is_not_there_is_harmless(metadata: Metadata) -> None:
    await prepare(metadata)
    await state(metadata, image("i"), [blob("later")], FOREVER)
    assert await collected(metadata) == set()
    await state(metadata, blob("later"))
    assert await collected(metadata) == set()
    await drop(metadata, blob("later"))
    await drop(metadata, image("i"))
    assert await collected(metadata) == set()


async def namespaces_do_not_keep_each_others_objects(metadata: Metadata) -> None:
    await prepare(metadata)
    await state(metadata, blob("same"))
    await state(metadata, blob("same", "other"))
    await state(metadata, image("i"), [blob("same")], FOREVER)
    assert await collected(metadata) == {blob("same", "other")}


async def what_a_container_refers_to_lives_and_the_container_stays(
    metadata: Metadata,
) -> None:
    await prepare(metadata)
    container = Node("container", "ns", "c")
    await state(metadata, snapshot("top"), [Edge(snapshot("base"), structural=True)])
    await state(metadata, snapshot("base"))
    await state(metadata, container, [snapshot("top")], FOREVER)
    assert await collected(metadata) == set()
    await state(metadata, container, [snapshot("top")])
    assert await collected(metadata) == {snapshot("top"), snapshot("base")}
    assert exists(metadata, container)


async def the_same_key_in_two_snapshotters_is_two_objects(
    metadata: Metadata,
) -> None:
    await prepare(metadata)
    for snapshotter in ("native", "overlay"):
        await state(metadata, snapshot("s", snapshotter))
    await state(metadata, image("i"), [snapshot("s", "native")], FOREVER)
    assert await collected(metadata) == {snapshot("s", "overlay")}


async def a_chain_lives_down_from_the_middle(metadata: Metadata) -> None:
    await prepare(metadata)
    for one, parent in ("ab", "bc", "cd"):
        edge = Edge(snapshot(parent), structural=True)
        await state(metadata, snapshot(one), [edge])
    await state(metadata, snapshot("d"))
    await state(metadata, image("i"), [snapshot("b")], FOREVER)
    assert await collected(metadata) == {snapshot("a")}


async def back_references_keep_as_long_as_the_named_one_lives(
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


async def back_references_to_what_was_removed_keep_nothing(
    metadata: Metadata,
) -> None:
    await prepare(metadata)
    await state(metadata, blob("parent"), root_until=FOREVER)
    await state(metadata, blob("child"), [Edge(blob("parent"), back=True)])
    assert await collected(metadata) == set()
    await drop(metadata, blob("parent"))
    assert await collected(metadata) == {blob("child")}


async def a_label_taken_away_lets_go(metadata: Metadata) -> None:
    await prepare(metadata)
    await state(metadata, blob("x"))
    await state(metadata, blob("root"), [blob("x")], FOREVER)
    assert await collected(metadata) == set()
    await state(metadata, blob("root"), [], FOREVER)
    assert await collected(metadata) == {blob("x")}
    await state(metadata, blob("root"))
    assert await collected(metadata) == {blob("root")}


# --- leases


async def a_lease_keeps_what_it_holds_and_all_below(metadata: Metadata) -> None:
    await prepare(metadata)
    await state(metadata, lease("l"), root_until=FOREVER)
    with call.using(lease="l"):
        await metadata.update(lambda txn: txn.hold(blob("a")))
        await state(metadata, blob("a"), [blob("b")])
    await state(metadata, blob("b"))
    assert await collected(metadata) == set()
    await metadata.update(lambda txn: txn.remove_edge(lease("l"), Edge(blob("a"))))
    assert await collected(metadata) == {blob("a"), blob("b")}
    assert exists(metadata, lease("l"))


async def an_expired_lease_goes_with_what_it_held(metadata: Metadata) -> None:
    await prepare(metadata)

    def change(txn: Transaction) -> None:
        txn.set_node(lease("l"), root_until=txn.now - 1)
        txn.add_edge(lease("l"), Edge(blob("a")))
        txn.set_node(lease("long"), root_until=txn.now + HOUR)
        txn.add_edge(lease("long"), Edge(blob("b")))
        txn.set_node(blob("a"))
        txn.set_node(blob("b"))

    await metadata.update(change)
    assert await collected(metadata) == {lease("l"), blob("a")}
    assert await collected(metadata) == set()


async def the_next_expiry_is_known(metadata: Metadata) -> None:
    await prepare(metadata)
    assert metadata.next_expiry() is None
    later = metadata.read(lambda view: view.now) + HOUR
    await state(metadata, lease("b"), root_until=later + 5)
    await state(metadata, lease("a"), root_until=later)
    assert metadata.next_expiry() == later
    await state(metadata, lease("a"), root_until=later + 10)
    assert metadata.next_expiry() == later + 5
    await drop(metadata, lease("b"))
    assert metadata.next_expiry() == later + 10
    await state(metadata, lease("a"), root_until=FOREVER)
    assert metadata.next_expiry() is None


async def below_a_flat_lease_only_structure_is_kept(metadata: Metadata) -> None:
    await prepare(metadata)
    await state(metadata, lease("l"), root_until=FOREVER, flat=True)
    await metadata.update(lambda txn: txn.add_edge(lease("l"), Edge(blob("config"))))
    await metadata.update(lambda txn: txn.add_edge(lease("l"), Edge(snapshot("top"))))
    await state(metadata, blob("config"), [blob("layer"), snapshot("other")])
    parent = Edge(snapshot("base"), structural=True)
    await state(metadata, snapshot("top"), [parent, Edge(blob("note"))])
    await state(metadata, snapshot("base"), [blob("base-note")])
    for node in (blob("layer"), snapshot("other"), blob("note"), blob("base-note")):
        await state(metadata, node)
    gone = {blob("layer"), snapshot("other"), blob("note"), blob("base-note")}
    assert await collected(metadata) == gone


async def what_only_a_flat_lease_keeps_lets_go_of_its_own(
    metadata: Metadata,
) -> None:
    await prepare(metadata)
    await state(metadata, lease("l"), [blob("manifest")], FOREVER, flat=True)
    await state(metadata, image("i"), [blob("manifest")], FOREVER)
    await state(metadata, blob("manifest"), [blob("layer")])
    await state(metadata, blob("layer"), [blob("manifest")])
    assert await collected(metadata) == set()
    await drop(metadata, image("i"))
    assert await collected(metadata) == {blob("layer")}
    assert exists(metadata, blob("manifest"))


async def a_lease_that_becomes_flat_lets_go_below(metadata: Metadata) -> None:
    await prepare(metadata)
    await state(metadata, lease("l"), [blob("a")], FOREVER)
    await state(metadata, blob("a"), [blob("b")])
    await state(metadata, blob("b"))
    assert await collected(metadata) == set()
    await state(metadata, lease("l"), [blob("a")], FOREVER, flat=True)
    assert await collected(metadata) == {blob("b")}


# --- how it goes about it


async def only_the_types_that_can_be_collected_are(metadata: Metadata) -> None:
    await prepare(metadata)
    strange = Node("strange", "ns", "s")
    await state(metadata, strange, [blob("a")])
    await state(metadata, blob("a"), [strange])
    assert await collected(metadata) == {blob("a")}
    assert exists(metadata, strange)


async def a_full_collection_finds_the_same(metadata: Metadata) -> None:
    await prepare(metadata)
    await state(metadata, image("i"), [blob("a")], FOREVER)
    await state(metadata, blob("a"), [blob("b")])
    await state(metadata, blob("b"))
    assert await collected(metadata, full=True) == set()
    await drop(metadata, image("i"))
    assert await collected(metadata, full=True) == {blob("a"), blob("b")}


async def a_thousand_objects_go_in_one_call(metadata: Metadata) -> None:
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


async def cleanup_runs_once_at_the_end_and_its_failure_is_not_the_collections(
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


async def one_object_that_cannot_be_collected_does_not_stop_the_others(
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


async def a_change_says_whether_something_may_be_collectable(
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


async def writers_and_collections_do_not_disturb_each_other(
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
    assert left == {f"{number}-{turn}" for number in range(10) for turn in (0, 2, 4)}


async def concurrent_collections_run_one_after_the_other(metadata: Metadata) -> None:
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


# --- why


async def an_explanation_is_the_path_from_a_root(metadata: Metadata) -> None:
    await prepare(metadata)
    await state(metadata, image("i"), [blob("manifest")], FOREVER)
    await state(metadata, blob("manifest"), [blob("layer")])
    await state(metadata, blob("layer"))
    await state(metadata, snapshot("s"), [Edge(blob("layer"), back=True)])
    found = await metadata.explain(snapshot("s"))
    assert found.exists
    assert [(one.type, one.name, one.how) for one in found.path] == [
        ("image", "i", "root"),
        ("content", "manifest", "reference"),
        ("content", "layer", "reference"),
        ("snapshot/native", "s", "back reference"),
    ]
    root = await metadata.explain(image("i"))
    assert [(one.name, one.how) for one in root.path] == [("i", "root")]


async def an_explanation_of_garbage_is_empty(metadata: Metadata) -> None:
    await prepare(metadata)
    await state(metadata, blob("a"), [blob("dead")])
    found = await metadata.explain(blob("a"))
    assert (found.exists, found.path) == (True, [])
    for name in ("dead", "never heard of"):
        assert not (await metadata.explain(blob(name))).exists


async def registered_types_are_listed_in_their_order(metadata: Metadata) -> None:
    await prepare(metadata)
    types = [resource.type for resource in metadata.resources()]
    expected = ["content", "image", "lease", "ingest", "snapshot/", "container"]
    assert types == expected
    with pytest.raises(PluggdError):
        metadata.register(ResourceType("content", "again", None))


SUITE: list[Callable[[Metadata], Awaitable[None]]] = [
    a_deleted_image_takes_with_it_what_it_alone_kept,
    what_is_created_without_a_reference_is_collected,
    a_circle_goes_when_nothing_outside_keeps_it,
    an_object_that_refers_to_itself_is_not_its_own_keeper,
    a_reference_to_what_is_not_there_is_harmless,
    namespaces_do_not_keep_each_others_objects,
    what_a_container_refers_to_lives_and_the_container_stays,
    the_same_key_in_two_snapshotters_is_two_objects,
    a_chain_lives_down_from_the_middle,
    back_references_keep_as_long_as_the_named_one_lives,
    back_references_to_what_was_removed_keep_nothing,
    a_label_taken_away_lets_go,
    a_lease_keeps_what_it_holds_and_all_below,
    an_expired_lease_goes_with_what_it_held,
    the_next_expiry_is_known,
    below_a_flat_lease_only_structure_is_kept,
    what_only_a_flat_lease_keeps_lets_go_of_its_own,
    a_lease_that_becomes_flat_lets_go_below,
    only_the_types_that_can_be_collected_are,
    a_full_collection_finds_the_same,
    a_thousand_objects_go_in_one_call,
    cleanup_runs_once_at_the_end_and_its_failure_is_not_the_collections,
    one_object_that_cannot_be_collected_does_not_stop_the_others,
    a_change_says_whether_something_may_be_collectable,
    writers_and_collections_do_not_disturb_each_other,
    concurrent_collections_run_one_after_the_other,
    an_explanation_is_the_path_from_a_root,
    an_explanation_of_garbage_is_empty,
    registered_types_are_listed_in_their_order,
]
