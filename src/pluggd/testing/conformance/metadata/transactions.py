# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A transaction happens as a whole or not at all."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from pluggd.errors import FailedPrecondition
from pluggd.model.record import decode
from pluggd.services import call
from pluggd.services.envelope import Envelope
from pluggd.services.metadata import (
    Edge,
    Metadata,
    Node,
    Transaction,
    View,
)
from pluggd.testing.conformance.base import Conformance
from pluggd.testing.conformance.metadata.kit import TABLE, Stop, emit, names_of, put


class Transactions(Conformance):
    """A transaction happens as a whole or not at all."""

    async def test_what_raises_has_not_happened(self, metadata: Metadata) -> None:
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

    async def test_a_transaction_sees_its_own_changes(self, metadata: Metadata) -> None:
        await put(metadata, "b", "d")

        def change(txn: Transaction) -> list[str]:
            txn.put(TABLE, "ns", "c", b"1")
            txn.delete(TABLE, "ns", "d")
            assert txn.get(TABLE, "ns", "c") == b"1"
            return [name for name, _ in txn.scan(TABLE, "ns")]

        assert await metadata.update(change) == ["b", "c"]

    async def test_a_transaction_is_dead_when_its_function_returned(
        self,
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

    async def test_a_view_cannot_change_anything(self, metadata: Metadata) -> None:
        await put(metadata)

        def look(view: View) -> None:
            coroutine = metadata.update(lambda txn: txn.put(TABLE, "ns", "a", b""))
            coroutine.send(None)

        with pytest.raises(FailedPrecondition, match="inside a view"):
            await metadata.view(look)

    async def test_what_is_called_inside_a_transaction_joins_it(
        self, metadata: Metadata
    ) -> None:
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

    async def test_what_waits_inside_a_transaction_is_refused(
        self, metadata: Metadata
    ) -> None:
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

    async def test_the_call_is_seen_inside_a_transaction(
        self, metadata: Metadata
    ) -> None:
        with call.using(namespace="mine", lease="l"):
            seen = await metadata.update(lambda txn: (call.namespace(), call.lease()))
            assert seen == ("mine", "l")
            assert await metadata.view(lambda view: call.namespace()) == "mine"

    async def test_concurrent_updates_come_one_after_the_other(
        self, metadata: Metadata
    ) -> None:
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

    async def test_what_was_started_tells_its_outcome_when_readers_see_it(
        self, metadata: Metadata
    ) -> None:
        await put(metadata)
        seen: list[list[str]] = []

        def fail(txn: Transaction) -> None:
            txn.put(TABLE, "ns", "never", b"")
            raise Stop

        def note(name: str, txn: Transaction) -> str:
            txn.put(TABLE, "ns", name, b"")
            return name

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

    async def test_one_failed_update_does_not_touch_its_neighbours(
        self, metadata: Metadata
    ) -> None:
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
