# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Who subscribes gets every event once, in one order."""

from __future__ import annotations

import pytest
import trio

from pluggd.errors import InvalidArgument, OutOfRange
from pluggd.model.record import Encoded, encode
from pluggd.services.events import EventItem
from pluggd.services.metadata import Transaction
from pluggd.testing.conformance.base import Conformance, needs
from pluggd.testing.conformance.events.kit import (
    EventsStand,
    Subscriber,
    name_of,
    subscribed,
)


class Subscribing(Conformance):
    """Who subscribes gets every event once, in one order."""

    async def test_a_subscriber_without_since_gets_only_new_events(
        self, stand: EventsStand
    ) -> None:
        await stand.publish("old")
        async with subscribed(stand.events) as subscriber:
            await stand.publish("new")
            assert await subscriber.names(1) == ["new"]

    @needs("history")
    async def test_a_subscriber_from_zero_gets_everything(
        self, stand: EventsStand
    ) -> None:
        await stand.publish("a")
        await stand.publish("b")
        async with subscribed(stand.events, since=0) as subscriber:
            await stand.publish("c")
            assert await subscriber.names(3) == ["a", "b", "c"]

    @needs("history")
    async def test_a_subscriber_resumes_after_the_last_event_it_saw(
        self, stand: EventsStand
    ) -> None:
        seqs = [await stand.publish(name) for name in "abc"]
        async with subscribed(stand.events, since=seqs[0]) as subscriber:
            assert await subscriber.names(2) == ["b", "c"]

    async def test_a_subscriber_at_the_end_gets_what_comes(
        self, stand: EventsStand
    ) -> None:
        last = await stand.publish("a")
        async with subscribed(stand.events, since=last) as subscriber:
            await stand.publish("b")
            assert await subscriber.names(1) == ["b"]

    @needs("history")
    async def test_a_since_beyond_the_last_event_is_out_of_range(
        self, stand: EventsStand
    ) -> None:
        await stand.publish("a")
        send, _ = trio.open_memory_channel[Encoded[EventItem]](0)
        with pytest.raises(OutOfRange) as raised:
            await stand.events.subscribe(since=2, out=send)
        assert str(raised.value) == "since 2 is beyond the last event 1: out of range"
        with pytest.raises(OutOfRange):
            await stand.events.poll(since=2)
        with pytest.raises(InvalidArgument, match="since must not be negative"):
            await stand.events.poll(since=-1)

    async def test_a_subscriber_sees_all_namespaces_unless_it_filters(
        self,
        stand: EventsStand,
    ) -> None:
        async with (
            subscribed(stand.events) as everything,
            subscribed(stand.events, filters=["namespace==two"]) as one,
        ):
            await stand.publish("a", namespace="one")
            await stand.publish("b", namespace="two")
            assert await everything.names(2) == ["a", "b"]
            assert await one.names(1) == ["b"]

    async def test_filters_are_joined_by_or_and_look_into_the_event(
        self, stand: EventsStand
    ) -> None:
        filters = ['topic~="^/images/"', "event.name==c,namespace==ns"]
        async with subscribed(stand.events, filters=filters) as subscriber:
            await stand.publish("a")
            await stand.publish("b", topic="/images/create")
            await stand.publish("c", namespace="other")
            await stand.publish("c")
            assert await subscriber.names(2) == ["b", "c"]

    async def test_a_bad_filter_is_refused_by_both_forms(
        self, stand: EventsStand
    ) -> None:
        send, _ = trio.open_memory_channel[Encoded[EventItem]](0)
        with pytest.raises(InvalidArgument, match="topic=="):
            await stand.events.subscribe(filters=["topic=="], out=send)
        with pytest.raises(InvalidArgument, match="topic=="):
            await stand.events.poll(filters=["topic=="])

    @needs("history")
    async def test_what_is_sent_is_the_canonical_form_of_the_item(
        self, stand: EventsStand
    ) -> None:
        send, receive = trio.open_memory_channel[Encoded[EventItem]](10)
        await stand.publish("a")
        async with trio.open_nursery() as nursery:

            async def run() -> None:
                await stand.events.subscribe(since=0, out=send)

            nursery.start_soon(run)
            item = await receive.receive()
            assert item.data == encode(item.value)
            nursery.cancel_scope.cancel()

    async def test_all_subscribers_see_one_order(self, stand: EventsStand) -> None:
        publishers, each = 10, 50
        async with (
            subscribed(stand.events) as one,
            subscribed(stand.events, credit=0) as other,
        ):

            async def publish(who: int) -> None:
                for n in range(each):
                    await stand.publish(f"{who}-{n}")

            seen: list[list[tuple[int, str]]] = [[], []]

            async def take(subscriber: Subscriber, into: list[tuple[int, str]]) -> None:
                for _ in range(publishers * each):
                    envelope = await subscriber.envelope()
                    into.append((envelope.seq, name_of(envelope)))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(take, one, seen[0])
                nursery.start_soon(take, other, seen[1])
                for who in range(publishers):
                    nursery.start_soon(publish, who)
        assert seen[0] == seen[1]
        assert [seq for seq, _ in seen[0]] == list(range(1, publishers * each + 1))

    @needs("metadata_log")
    async def test_what_was_rolled_back_is_never_seen(self, stand: EventsStand) -> None:
        def fail(txn: Transaction) -> None:
            txn.emit("ns", "/test/made", "t", {"name": "ghost"})
            raise RuntimeError("changed my mind")

        async with subscribed(stand.events) as subscriber:
            with pytest.raises(RuntimeError, match="changed my mind"):
                await stand.metadata.update(fail)
            await stand.publish("real")
            assert await subscriber.names(1) == ["real"]

    async def test_a_subscriber_that_stops_reading_holds_up_nobody(
        self, stand: EventsStand
    ) -> None:
        async with (
            subscribed(stand.events, credit=0) as stopped,
            subscribed(stand.events) as reading,
        ):
            for n in range(100):
                await stand.publish(str(n))
                assert await reading.names(1) == [str(n)]
            assert await stopped.names(100) == [str(n) for n in range(100)]
