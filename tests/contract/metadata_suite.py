# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What every provider of `pluggd.metadata.v1` promises: tables and transactions.

Each function takes an empty provider; `SUITE` has them all. What concerns
collection is in `collection_suite`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio

from pluggd.errors import FailedPrecondition, InvalidArgument, NotFound
from pluggd.model.record import decode
from pluggd.services import call
from pluggd.services.envelope import Envelope
from pluggd.services.metadata import (
    FOREVER,
    LEASE,
    Edge,
    Metadata,
    Node,
    Transaction,
    View,
)
from pluggd.services.namespaces import Namespace

TABLE = "things"


async def put(metadata: Metadata, *names: str, namespace: str = "ns") -> None:
    await metadata.open_table(TABLE)

    def change(txn: Transaction) -> None:
        for name in names:
            txn.put(TABLE, namespace, name, name.encode("utf-8", "surrogatepass"))

    await metadata.update(change)


def names_of(view: View, after: str = "") -> list[str]:
    return [name for name, _ in view.scan(TABLE, "ns", after=after)]


def emit(txn: Transaction, *topics: str) -> None:
    for topic in topics:
        txn.emit("ns", topic, "type", {"topic": topic})


class Stop(Exception):
    """What a function raises to have its transaction rolled back."""


# --- records


async def a_record_is_read_back_until_it_is_deleted(metadata: Metadata) -> None:
    await metadata.open_table(TABLE)
    await metadata.update(lambda txn: txn.put(TABLE, "ns", "a", b"1"))
    assert await metadata.view(lambda view: view.get(TABLE, "ns", "a")) == b"1"
    assert metadata.read(lambda view: view.get(TABLE, "ns", "a")) == b"1"
    await metadata.update(lambda txn: txn.put(TABLE, "ns", "a", b"2"))
    assert metadata.read(lambda view: view.get(TABLE, "ns", "a")) == b"2"
    assert await metadata.update(lambda txn: txn.delete(TABLE, "ns", "a"))
    assert not await metadata.update(lambda txn: txn.delete(TABLE, "ns", "a"))
    assert metadata.read(lambda view: view.get(TABLE, "ns", "a")) is None


async def a_record_belongs_to_its_table_and_namespace(metadata: Metadata) -> None:
    await put(metadata, "a")
    await metadata.open_table("others")

    def look(view: View) -> list[bytes | None]:
        return [view.get("others", "ns", "a"), view.get(TABLE, "n", "sa")]

    assert metadata.read(look) == [None, None]


async def an_empty_record_is_a_record(metadata: Metadata) -> None:
    await put(metadata)
    await metadata.update(lambda txn: txn.put(TABLE, "ns", "a", b""))
    assert metadata.read(lambda view: view.get(TABLE, "ns", "a")) == b""


async def listings_are_in_byte_order_of_the_whole_name(metadata: Metadata) -> None:
    run = "r" * 400
    names = ["b", "a", "a\0b", "ä", "\udc80", "𐀀", "\uffff", "a" * 300, "a" * 301]
    names += [run + tail for tail in ("z", "a", "m" * 5000, "", "\0", "mm")]
    await put(metadata, *names)
    listed = metadata.read(names_of)
    assert listed == sorted(names)
    records = metadata.read(lambda view: dict(view.scan(TABLE, "ns")))
    assert records == {name: name.encode("utf-8", "surrogatepass") for name in names}


async def a_listing_goes_on_after_any_name(metadata: Metadata) -> None:
    names = sorted("r" * 350 + tail for tail in ("a", "b", "c", "d"))
    names = ["q", "r" * 300, *names, "s"]
    await put(metadata, *names)
    for after in [*names, "", "r", "r" * 301, "r" * 350 + "bb", "t"]:
        expected = [name for name in names if name > after]
        assert metadata.read(partial(names_of, after=after)) == expected


async def the_namespaces_of_a_table_are_listed(metadata: Metadata) -> None:
    for namespace in ("b", "a-b", "a", "a.b"):
        await put(metadata, "x", "y" * 1000, namespace=namespace)
    listed = metadata.read(lambda view: list(view.scan_namespaces(TABLE)))
    assert listed == ["a", "a-b", "a.b", "b"]


async def a_namespace_comes_into_being_with_its_first_record(
    metadata: Metadata,
) -> None:
    await put(metadata, "a")
    await put(metadata, "a", namespace="")

    def look(view: View) -> list[tuple[str, bytes]]:
        return list(view.scan("namespaces", ""))

    found = metadata.read(look)
    assert [name for name, _ in found] == ["ns"]
    assert decode(found[0][1], Namespace) == Namespace(name="ns")
    await metadata.update(lambda txn: txn.put("namespaces", "", "ns", b"kept"))
    await put(metadata, "b")
    assert metadata.read(look) == [("ns", b"kept")]


async def a_namespace_deleted_and_filled_in_one_transaction_is_there(
    metadata: Metadata,
) -> None:
    await put(metadata, "a")

    def change(txn: Transaction) -> None:
        txn.put(TABLE, "ns", "b", b"")
        txn.delete("namespaces", "", "ns")
        txn.put(TABLE, "ns", "c", b"")

    await metadata.update(change)
    assert metadata.read(lambda view: view.get("namespaces", "", "ns")) is not None


async def a_sequence_never_repeats_a_number(metadata: Metadata) -> None:
    def take(txn: Transaction) -> int:
        return txn.sequence("ns", "snapshots")

    assert [await metadata.update(take) for _ in range(3)] == [1, 2, 3]
    assert await metadata.update(lambda txn: txn.sequence("other", "snapshots")) == 1
    assert await metadata.update(lambda txn: txn.sequence("ns", "s" * 600)) == 1


async def a_table_of_the_store_itself_cannot_be_opened(metadata: Metadata) -> None:
    for name in ("objects.nodes", ""):
        with pytest.raises(InvalidArgument):
            await metadata.open_table(name)


async def a_table_is_opened_twice_without_harm(metadata: Metadata) -> None:
    await put(metadata, "a")
    await metadata.open_table(TABLE)
    assert metadata.read(names_of) == ["a"]


# --- transactions


async def what_raises_has_not_happened(metadata: Metadata) -> None:
    await put(metadata, "a")
    await metadata.update(lambda txn: emit(txn, "/first"))
    error = Stop("as it was raised")

    def change(txn: Transaction) -> None:
        txn.put(TABLE, "ns", "b", b"")
        txn.put(TABLE, "new", "b", b"")
        txn.delete(TABLE, "ns", "a")
        txn.sequence("ns", "counter")
        txn.set_node(Node("content", "ns", "x"), [Edge(Node("content", "ns", "y"))])
        emit(txn, "/lost")
        raise error

    with pytest.raises(Stop) as caught:
        await metadata.update(change)
    assert caught.value is error

    def look(view: View) -> None:
        assert names_of(view) == ["a"]
        assert view.get("namespaces", "", "new") is None
        assert not view.has_node(Node("content", "ns", "x"))
        assert view.event_bounds() == (1, 1)

    metadata.read(look)
    assert await metadata.update(lambda txn: txn.sequence("ns", "counter")) == 1
    assert await metadata.update(lambda txn: txn.emit("ns", "/t", "type", 0)) == 2


async def a_transaction_sees_its_own_changes(metadata: Metadata) -> None:
    await put(metadata, "b", "d")

    def change(txn: Transaction) -> list[str]:
        txn.put(TABLE, "ns", "c", b"1")
        txn.delete(TABLE, "ns", "d")
        assert txn.get(TABLE, "ns", "c") == b"1"
        return [name for name, _ in txn.scan(TABLE, "ns")]

    assert await metadata.update(change) == ["b", "c"]


async def a_transaction_is_dead_when_its_function_returned(
    metadata: Metadata,
) -> None:
    await put(metadata, "a")
    kept: list[Transaction] = []
    views: list[View] = []
    await metadata.update(kept.append)
    await metadata.view(views.append)
    for view in [*kept, *views]:
        with pytest.raises(FailedPrecondition, match="over"):
            view.get(TABLE, "ns", "a")
        with pytest.raises(FailedPrecondition, match="over"):
            view.has_node(Node("content", "ns", "a"))
    with pytest.raises(FailedPrecondition, match="over"):
        kept[0].put(TABLE, "ns", "a", b"")
    with pytest.raises(FailedPrecondition, match="over"):
        kept[0].set_node(Node("content", "ns", "a"))


async def a_view_cannot_change_anything(metadata: Metadata) -> None:
    await put(metadata)

    def look(view: View) -> None:
        coroutine = metadata.update(lambda txn: txn.put(TABLE, "ns", "a", b""))
        coroutine.send(None)

    with pytest.raises(FailedPrecondition, match="inside a view"):
        await metadata.view(look)


async def what_is_called_inside_a_transaction_joins_it(metadata: Metadata) -> None:
    await put(metadata)

    async def method() -> list[str]:
        await metadata.update(lambda txn: txn.put(TABLE, "ns", "inner", b""))
        found = await metadata.view(names_of)
        assert metadata.read(names_of) == found
        return found

    def change(txn: Transaction) -> list[str]:
        txn.put(TABLE, "ns", "outer", b"")
        return txn.run(method())

    assert await metadata.update(change) == ["inner", "outer"]

    def fail(txn: Transaction) -> None:
        txn.delete(TABLE, "ns", "outer")
        txn.run(method())
        raise Stop

    with pytest.raises(Stop):
        await metadata.update(fail)
    assert metadata.read(names_of) == ["inner", "outer"]


async def what_waits_inside_a_transaction_is_refused(metadata: Metadata) -> None:
    await put(metadata)
    finished = False

    async def waits() -> None:
        nonlocal finished
        try:
            await trio.lowlevel.checkpoint()
        finally:
            finished = True

    def change(txn: Transaction) -> None:
        txn.put(TABLE, "ns", "a", b"")
        txn.run(waits())

    with pytest.raises(RuntimeError, match="waits inside a transaction"):
        await metadata.update(change)
    assert finished
    assert metadata.read(names_of) == []


async def the_call_is_seen_inside_a_transaction(metadata: Metadata) -> None:
    with call.using(namespace="mine", lease="l"):
        seen = await metadata.update(lambda txn: (call.namespace(), call.lease()))
        assert seen == ("mine", "l")
        assert await metadata.view(lambda view: call.namespace()) == "mine"


async def concurrent_updates_come_one_after_the_other(metadata: Metadata) -> None:
    await put(metadata)
    seen: list[int] = []

    async def increment(how_often: int) -> None:
        seen.extend([await metadata.update(add_one) for _ in range(how_often)])

    def add_one(txn: Transaction) -> int:
        value = int(txn.get(TABLE, "ns", "n") or b"0") + 1
        txn.put(TABLE, "ns", "n", str(value).encode())
        if value % 7 == 0 and txn.sequence("ns", str(value)) == 0:
            raise Stop
        return value

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(increment, 10)
    assert sorted(seen) == list(range(1, 201))


async def what_was_started_tells_its_outcome_when_readers_see_it(
    metadata: Metadata,
) -> None:
    await put(metadata)
    seen: list[list[str]] = []

    def fail(txn: Transaction) -> None:
        txn.put(TABLE, "ns", "never", b"")
        raise Stop

    def note(name: str, txn: Transaction) -> str:
        txn.put(TABLE, "ns", name, b"")
        return name

    with trio.fail_after(60):
        started = [
            metadata.start_update(partial(note, name), long=name == "b")
            for name in "abc"
        ]
        first, *rest = started
        first.then(lambda _: seen.append(metadata.read(names_of)))
        assert [await one.wait() for one in rest] == ["b", "c"]
        assert "a" in seen[0]
        assert metadata.read(names_of) == ["a", "b", "c"]
        with pytest.raises(Stop):
            await metadata.start_update(fail).wait()

        def inside(txn: Transaction) -> list[str]:
            assert metadata.start_update(partial(note, "d")).result() == "d"
            return names_of(txn)

        assert await metadata.update(inside) == ["a", "b", "c", "d"]


async def one_failed_update_does_not_touch_its_neighbours(metadata: Metadata) -> None:
    await put(metadata)
    failed = 0

    async def change(number: int) -> None:
        nonlocal failed

        def function(txn: Transaction) -> None:
            txn.put(TABLE, "ns", f"{number:03}", b"")
            emit(txn, f"/{number:03}")
            if number % 3 == 0:
                raise Stop

        try:
            await metadata.update(function)
        except Stop:
            failed += 1

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for number in range(60):
                nursery.start_soon(change, number)
    assert failed == 20
    kept = [f"{number:03}" for number in range(60) if number % 3]
    assert metadata.read(names_of) == kept
    logged = metadata.read(lambda view: list(view.events(0)))
    assert [seq for seq, _ in logged] == list(range(1, 41))
    topics = [decode(data, Envelope).topic for _, data in logged]
    assert sorted(topics) == [f"/{name}" for name in kept]


# --- events


async def events_are_numbered_in_one_order(metadata: Metadata) -> None:
    assert metadata.read(lambda view: view.event_bounds()) == (1, 0)
    await metadata.update(lambda txn: emit(txn, "/a", "/b"))
    await metadata.update(lambda txn: emit(txn, "/c"))
    assert metadata.read(lambda view: view.event_bounds()) == (1, 3)
    logged = metadata.read(lambda view: list(view.events(1)))
    envelopes = [decode(data, Envelope) for _, data in logged]
    assert [(one.seq, one.topic) for one in envelopes] == [(2, "/b"), (3, "/c")]
    first = envelopes[0]
    assert first.namespace == "ns"
    assert first.timestamp > 1_600_000_000_000_000_000
    assert first.event.type_url == "type"
    assert first.event.value == {"topic": "/b"}


async def a_forwarded_event_keeps_its_time(metadata: Metadata) -> None:
    def change(txn: Transaction) -> int:
        return txn.append_event(
            timestamp=5, namespace="ns", topic="/t", type_url="type", value=None
        )

    assert await metadata.update(change) == 1
    ((_, data),) = metadata.read(lambda view: list(view.events(0)))
    assert decode(data, Envelope).timestamp == 5


async def trimmed_events_are_gone_and_their_numbers_too(metadata: Metadata) -> None:
    await metadata.update(lambda txn: emit(txn, "/a", "/b", "/c"))
    assert await metadata.update(lambda txn: txn.trim_events(3)) == 2
    assert metadata.read(lambda view: view.event_bounds()) == (3, 3)
    assert await metadata.update(lambda txn: txn.trim_events(100)) == 1
    assert metadata.read(lambda view: view.event_bounds()) == (4, 3)
    assert metadata.read(lambda view: list(view.events(0))) == []
    assert await metadata.update(lambda txn: txn.emit("ns", "/d", "type", 0)) == 4


async def listeners_get_each_committed_event_once_and_in_order(
    metadata: Metadata,
) -> None:
    heard: list[tuple[int, bytes]] = []
    metadata.on_commit(heard.extend)

    async def change(number: int) -> None:
        def function(txn: Transaction) -> int:
            if number % 4 == 0:
                emit(txn, "/lost")
                raise Stop
            return txn.emit("ns", "/t", "type", number)

        try:
            seq = await metadata.update(function)
        except Stop:
            return
        assert seq in [one for one, _ in heard]

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for number in range(40):
                nursery.start_soon(change, number)
    assert [seq for seq, _ in heard] == list(range(1, 31))
    assert heard == metadata.read(lambda view: list(view.events(0)))


# --- nodes and leases


async def a_node_exists_from_set_node_to_drop_node(metadata: Metadata) -> None:
    a, b = Node("content", "ns", "a"), Node("content", "ns", "b")
    await metadata.update(lambda txn: txn.set_node(a, [Edge(b)]))

    def look(view: View) -> tuple[bool, bool]:
        return view.has_node(a), view.has_node(b)

    assert metadata.read(look) == (True, False)
    await metadata.update(lambda txn: txn.drop_node(a))
    await metadata.update(lambda txn: txn.drop_node(b))
    assert metadata.read(look) == (False, False)


async def nodes_are_listed_by_type_and_name(metadata: Metadata) -> None:
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


async def set_node_replaces_what_it_stated_and_nothing_else(
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


async def an_edge_is_added_only_to_what_exists(metadata: Metadata) -> None:
    a, b = Node("content", "ns", "a"), Node("content", "ns", "b")
    with pytest.raises(NotFound):
        await metadata.update(lambda txn: txn.add_edge(a, Edge(b)))
    await metadata.update(lambda txn: txn.remove_edge(a, Edge(b)))


async def what_is_held_is_on_the_lease_of_the_call(metadata: Metadata) -> None:
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


async def a_lease_that_does_not_exist_holds_nothing(metadata: Metadata) -> None:
    await metadata.update(
        lambda txn: txn.set_node(Node(LEASE, "other", "l"), root_until=FOREVER)
    )
    blob = Node("content", "ns", "x")
    with call.using(lease="l"):
        with pytest.raises(NotFound, match=r"^lease does not exist: not found$"):
            await metadata.update(lambda txn: txn.hold(blob))
        await metadata.update(lambda txn: txn.release(blob))


async def figures_tell_what_is_stored(metadata: Metadata) -> None:
    await put(metadata, "a", "b")
    await metadata.update(lambda txn: emit(txn, "/a"))
    figures = await metadata.statistics()
    assert figures.provider
    assert figures.updates >= 2
    assert figures.entries[TABLE] == 2
    assert (figures.first_event, figures.last_event) == (1, 1)


SUITE: list[Callable[[Metadata], Awaitable[None]]] = [
    a_record_is_read_back_until_it_is_deleted,
    a_record_belongs_to_its_table_and_namespace,
    an_empty_record_is_a_record,
    listings_are_in_byte_order_of_the_whole_name,
    a_listing_goes_on_after_any_name,
    the_namespaces_of_a_table_are_listed,
    a_namespace_comes_into_being_with_its_first_record,
    a_namespace_deleted_and_filled_in_one_transaction_is_there,
    a_sequence_never_repeats_a_number,
    a_table_of_the_store_itself_cannot_be_opened,
    a_table_is_opened_twice_without_harm,
    what_raises_has_not_happened,
    a_transaction_sees_its_own_changes,
    a_transaction_is_dead_when_its_function_returned,
    a_view_cannot_change_anything,
    what_is_called_inside_a_transaction_joins_it,
    what_waits_inside_a_transaction_is_refused,
    the_call_is_seen_inside_a_transaction,
    concurrent_updates_come_one_after_the_other,
    what_was_started_tells_its_outcome_when_readers_see_it,
    one_failed_update_does_not_touch_its_neighbours,
    events_are_numbered_in_one_order,
    a_forwarded_event_keeps_its_time,
    trimmed_events_are_gone_and_their_numbers_too,
    listeners_get_each_committed_event_once_and_in_order,
    a_node_exists_from_set_node_to_drop_node,
    nodes_are_listed_by_type_and_name,
    set_node_replaces_what_it_stated_and_nothing_else,
    an_edge_is_added_only_to_what_exists,
    what_is_held_is_on_the_lease_of_the_call,
    a_lease_that_does_not_exist_holds_nothing,
    figures_tell_what_is_stored,
]
