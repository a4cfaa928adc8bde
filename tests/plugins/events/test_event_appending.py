# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Many publishers, few updates, and each event's own fate."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from pluggd.errors import (
    FailedPrecondition,
    InvalidArgument,
    ResourceExhausted,
    Unavailable,
)
from pluggd.model.record import decode
from pluggd.model.types import Any
from pluggd.objects.transaction import ObjectTransaction
from pluggd.services import call
from pluggd.services.envelope import Envelope
from pluggd.services.metadata import Transaction
from pluggd.testing.memory import MemoryMetadata
from plugins.events.appending import MOST_EVENTS, Append, Appender
from plugins.events.exchange import Exchange
from plugins.events.service import EventService

T = TypeVar("T")


class Gated(MemoryMetadata):
    """Its updates end when the gate is open; it counts them, and can refuse topics."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = trio.Event()
        self.gate.set()
        self.counted = 0
        self.refused: set[str] = set()

    async def update(
        self,
        function: Callable[[ObjectTransaction], T],
        *,
        reclaim: bool = False,
        long: bool = False,
    ) -> T:
        def refusing(txn: ObjectTransaction) -> T:
            self.counted += 1
            value = function(txn)
            for _, data in txn.new_events:
                assert not any(topic.encode() in data for topic in self.refused)
            return value

        await self.gate.wait()
        return await super().update(refusing, reclaim=reclaim, long=long)


@asynccontextmanager
async def log() -> AsyncGenerator[tuple[Gated, Appender, trio.Nursery]]:
    metadata = Gated()
    appender = Appender(metadata)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(appender.run_forever)
            await wait_all_tasks_blocked()
            yield metadata, appender, nursery
            nursery.cancel_scope.cancel()


def event(name: str) -> Append:
    return Append("ns", f"/test/{name}", "t", {"name": name})


def topics(metadata: Gated) -> list[str]:
    """Of the log, in order."""
    return metadata.read(
        lambda view: [
            decode(data, Envelope).topic.removeprefix("/test/")
            for _, data in view.events(0)
        ]
    )


async def test_what_waits_goes_in_one_update_in_its_order() -> None:
    async with log() as (metadata, appender, _):
        metadata.gate = trio.Event()
        events = [event(str(n)) for n in range(101)]
        appender.add(events[0])
        await wait_all_tasks_blocked()
        for one in events[1:]:
            appender.add(one)
        await wait_all_tasks_blocked()
        assert not any(one.done for one in events)
        metadata.gate.set()
        assert [await one.wait() for one in events] == list(range(1, 102))
        assert metadata.counted == 2
        assert topics(metadata) == [str(n) for n in range(101)]


async def test_an_update_has_a_bounded_number_of_events() -> None:
    async with log() as (metadata, appender, _):
        events = [event(str(n)) for n in range(2 * MOST_EVENTS + 1)]
        for one in events:
            appender.add(one)
        assert [await one.wait() for one in events] == list(range(1, len(events) + 1))
        assert metadata.counted == 3


async def test_what_cannot_be_encoded_is_refused_before_it_joins_others() -> None:
    for value in (2**70, {"name": "\ud800"}):
        with pytest.raises(InvalidArgument, match="event"):
            Append("ns", "/test/bad", "t", value)


async def test_one_that_fails_in_the_transaction_fails_alone() -> None:
    class Broken(Append):
        def run(self, txn: Transaction) -> int:
            super().run(txn)
            raise FailedPrecondition("mine alone")

    async with log() as (metadata, appender, _):
        metadata.gate = trio.Event()
        before, after = event("before"), event("after")
        broken = [Broken("ns", "/test/x", "t", 1), Broken("ns", "/test/y", "t", 1)]
        for one in (before, broken[0], after, broken[1]):
            appender.add(one)
        metadata.gate.set()
        assert (await before.wait(), await after.wait()) == (1, 2)
        for one in broken:
            with pytest.raises(FailedPrecondition, match="mine alone"):
                await one.wait()
        assert topics(metadata) == ["before", "after"]


async def test_a_full_store_refuses_each_and_goes_on_when_there_is_room() -> None:
    async with log() as (metadata, appender, _):
        metadata.full = True
        events = [event("a"), event("b")]
        for one in events:
            appender.add(one)
        for one in events:
            with pytest.raises(ResourceExhausted, match="no space left"):
                await one.wait()
        metadata.full = False
        later = event("c")
        appender.add(later)
        assert await later.wait() == 1


async def test_an_update_that_cannot_be_judged_fails_all_of_it_once() -> None:
    async with log() as (metadata, appender, _):
        metadata.gate = trio.Event()
        metadata.refused = {"/test/b"}
        events = [event("a"), event("b")]
        for one in events:
            appender.add(one)
        metadata.gate.set()
        for one in events:
            with pytest.raises(AssertionError):
                await one.wait()
        assert metadata.counted == 1


async def test_a_stop_leaves_nobody_waiting() -> None:
    async with log() as (metadata, appender, nursery):
        metadata.gate = trio.Event()
        under_way, waiting, late = event("a"), event("b"), event("c")
        appender.add(under_way)
        await wait_all_tasks_blocked()
        appender.add(waiting)
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            while not waiting.done:
                await trio.lowlevel.checkpoint()
            appender.add(late)
            with pytest.raises(Unavailable, match="shows in the log"):
                await under_way.wait()
            for one in (waiting, late):
                with pytest.raises(Unavailable, match="is stopped"):
                    await one.wait()


# --- as a service


async def test_a_publisher_that_gives_up_takes_nobody_along() -> None:
    async with log() as (metadata, appender, nursery):
        exchange = Exchange(metadata, backlog_events=10, backlog_bytes=1000)
        events = EventService(appender, exchange)
        metadata.gate = trio.Event()
        numbers: list[int] = []

        async def publish() -> None:
            with call.using(namespace="ns"):
                number = await events.publish(topic="/test/a", event=Any(value=1))
            numbers.append(number)

        with trio.move_on_after(0):
            await publish()
        nursery.start_soon(publish)
        await wait_all_tasks_blocked()
        metadata.gate.set()
        await wait_all_tasks_blocked()
        assert numbers == [2]


async def test_publishing_inside_a_transaction_shares_its_fate() -> None:
    async with log() as (metadata, appender, _):
        exchange = Exchange(metadata, backlog_events=10, backlog_bytes=1000)
        events = EventService(appender, exchange)

        def change(txn: Transaction, *, fail: bool) -> int:
            number = txn.run(events.publish(topic="/test/a", event=Any(value=1)))
            if fail:
                raise RuntimeError("changed my mind")
            return number

        with call.using(namespace="ns"):
            with pytest.raises(RuntimeError, match="changed my mind"):
                await metadata.update(lambda txn: change(txn, fail=True))
            assert topics(metadata) == []
            assert await metadata.update(lambda txn: change(txn, fail=False)) == 1
        assert topics(metadata) == ["a"]
