# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What every provider of `pluggd.events.v1` promises.

Each promise is given a stand: the service, and the metadata store below it, whose
log is empty at first. A provider is tested by running all of `SUITE` on it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import trio
import trio.testing

from pluggd.errors import FailedPrecondition, InvalidArgument, OutOfRange
from pluggd.model.record import Encoded, encode
from pluggd.model.types import Any
from pluggd.services import call
from pluggd.services.envelope import Envelope
from pluggd.services.events import EventItem, Events, Gap
from pluggd.services.metadata import Metadata, Transaction


@dataclass
class EventsStand:
    events: Events
    metadata: Metadata

    async def publish(
        self, name: str, *, topic: str = "/test/made", namespace: str = "ns"
    ) -> int:
        with call.using(namespace=namespace):
            event = Any(type_url="test.Made", value={"name": name})
            return await self.events.publish(topic=topic, event=event)

    async def trim(self, before: int) -> None:
        await self.metadata.update(lambda txn: txn.trim_events(before))


class Subscriber:
    """Takes items of one subscription, one by one."""

    def __init__(self, receive: trio.MemoryReceiveChannel[Encoded[EventItem]]) -> None:
        self._receive = receive

    async def item(self) -> EventItem:
        return (await self._receive.receive()).value

    async def envelope(self) -> Envelope:
        item = await self.item()
        assert item.gap is None
        assert item.envelope is not None
        return item.envelope

    async def names(self, count: int) -> list[str]:
        """The names in the payloads of the next events."""
        return [name_of(await self.envelope()) for _ in range(count)]


def name_of(envelope: Envelope) -> str:
    name: str = envelope.event.value["name"]
    return name


@asynccontextmanager
async def subscribed(
    events: Events,
    *,
    filters: Sequence[str] = (),
    since: int | None = None,
    credit: int = 10,
) -> AsyncGenerator[Subscriber]:
    """A subscription that exists when the block begins."""
    send, receive = trio.open_memory_channel[Encoded[EventItem]](credit)

    async def run() -> None:
        await events.subscribe(filters=filters, since=since, out=send)

    async with trio.open_nursery() as nursery, receive:
        nursery.start_soon(run)
        await trio.testing.wait_all_tasks_blocked()
        yield Subscriber(receive)
        nursery.cancel_scope.cancel()


# --- what is accepted


async def published_events_have_their_place_time_and_namespace(
    stand: EventsStand,
) -> None:
    first = await stand.publish("a")
    second = await stand.publish("b", namespace="other")
    assert (first, second) == (1, 2)
    page = await stand.events.poll(since=0)
    assert [one.seq for one in page.events] == [1, 2]
    assert [one.namespace for one in page.events] == ["ns", "other"]
    assert page.events[0].topic == "/test/made"
    assert page.events[0].event == Any(type_url="test.Made", value={"name": "a"})
    assert 0 < page.events[0].timestamp <= page.events[1].timestamp


async def publishing_needs_a_namespace(stand: EventsStand) -> None:
    with pytest.raises(FailedPrecondition, match="namespace is required"):
        await stand.events.publish(topic="/a", event=Any())
    with pytest.raises(InvalidArgument, match="namespace validation"):
        await stand.publish("a", namespace="bad ns!")


async def a_bad_topic_is_refused_and_nothing_is_stored(stand: EventsStand) -> None:
    for topic in ("", "/", "//", "/a/", "/a//b", "/a b", "a", "/a--b", "/tasks/?"):
        with pytest.raises(InvalidArgument, match="topic"):
            await stand.publish("a", topic=topic)
        with pytest.raises(InvalidArgument, match="topic"):
            await stand.events.forward(
                envelope=Envelope(namespace="ns", timestamp=1, topic=topic)
            )
    bounds = await stand.events.bounds()
    assert (bounds.first, bounds.last) == (1, 0)


async def a_forwarded_event_keeps_its_namespace_and_time(stand: EventsStand) -> None:
    given = Envelope(
        seq=77,
        namespace="elsewhere",
        timestamp=123,
        topic="/far/away",
        event=Any(type_url="t", value={"n": [1, b"x"]}),
    )
    assert await stand.events.forward(envelope=given) == 1
    page = await stand.events.poll(since=0)
    assert page.events == [
        Envelope(
            seq=1,
            namespace="elsewhere",
            timestamp=123,
            topic="/far/away",
            event=given.event,
        )
    ]


async def a_forwarded_event_without_time_or_namespace_is_refused(
    stand: EventsStand,
) -> None:
    with pytest.raises(InvalidArgument, match="timestamp must be set"):
        await stand.events.forward(envelope=Envelope(namespace="ns", topic="/a"))
    with pytest.raises(InvalidArgument, match="namespace"):
        await stand.events.forward(envelope=Envelope(timestamp=1, topic="/a"))


# --- subscriptions


async def a_subscriber_without_since_gets_only_new_events(stand: EventsStand) -> None:
    await stand.publish("old")
    async with subscribed(stand.events) as subscriber:
        await stand.publish("new")
        assert await subscriber.names(1) == ["new"]


async def a_subscriber_from_zero_gets_everything(stand: EventsStand) -> None:
    await stand.publish("a")
    await stand.publish("b")
    async with subscribed(stand.events, since=0) as subscriber:
        await stand.publish("c")
        assert await subscriber.names(3) == ["a", "b", "c"]


async def a_subscriber_resumes_after_the_last_event_it_saw(stand: EventsStand) -> None:
    seqs = [await stand.publish(name) for name in "abc"]
    async with subscribed(stand.events, since=seqs[0]) as subscriber:
        assert await subscriber.names(2) == ["b", "c"]


async def a_subscriber_at_the_end_gets_what_comes(stand: EventsStand) -> None:
    last = await stand.publish("a")
    async with subscribed(stand.events, since=last) as subscriber:
        await stand.publish("b")
        assert await subscriber.names(1) == ["b"]


async def a_since_beyond_the_last_event_is_out_of_range(stand: EventsStand) -> None:
    await stand.publish("a")
    send, _ = trio.open_memory_channel[Encoded[EventItem]](0)
    with pytest.raises(OutOfRange) as raised:
        await stand.events.subscribe(since=2, out=send)
    assert str(raised.value) == "since 2 is beyond the last event 1: out of range"
    with pytest.raises(OutOfRange):
        await stand.events.poll(since=2)
    with pytest.raises(InvalidArgument, match="since must not be negative"):
        await stand.events.poll(since=-1)


async def a_subscriber_sees_all_namespaces_unless_it_filters(
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


async def filters_are_joined_by_or_and_look_into_the_event(stand: EventsStand) -> None:
    filters = ['topic~="^/images/"', "event.name==c,namespace==ns"]
    async with subscribed(stand.events, filters=filters) as subscriber:
        await stand.publish("a")
        await stand.publish("b", topic="/images/create")
        await stand.publish("c", namespace="other")
        await stand.publish("c")
        assert await subscriber.names(2) == ["b", "c"]


async def a_bad_filter_is_refused_by_both_forms(stand: EventsStand) -> None:
    send, _ = trio.open_memory_channel[Encoded[EventItem]](0)
    with pytest.raises(InvalidArgument, match="topic=="):
        await stand.events.subscribe(filters=["topic=="], out=send)
    with pytest.raises(InvalidArgument, match="topic=="):
        await stand.events.poll(filters=["topic=="])


async def what_is_sent_is_the_canonical_form_of_the_item(stand: EventsStand) -> None:
    send, receive = trio.open_memory_channel[Encoded[EventItem]](10)
    await stand.publish("a")
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            await stand.events.subscribe(since=0, out=send)

        nursery.start_soon(run)
        item = await receive.receive()
        assert item.data == encode(item.value)
        nursery.cancel_scope.cancel()


async def all_subscribers_see_one_order(stand: EventsStand) -> None:
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


async def what_was_rolled_back_is_never_seen(stand: EventsStand) -> None:
    def fail(txn: Transaction) -> None:
        txn.emit("ns", "/test/made", "t", {"name": "ghost"})
        raise RuntimeError("changed my mind")

    async with subscribed(stand.events) as subscriber:
        with pytest.raises(RuntimeError, match="changed my mind"):
            await stand.metadata.update(fail)
        await stand.publish("real")
        assert await subscriber.names(1) == ["real"]


async def a_subscriber_that_stops_reading_holds_up_nobody(stand: EventsStand) -> None:
    async with (
        subscribed(stand.events, credit=0) as stopped,
        subscribed(stand.events) as reading,
    ):
        for n in range(100):
            await stand.publish(str(n))
            assert await reading.names(1) == [str(n)]
        assert await stopped.names(100) == [str(n) for n in range(100)]


# --- what the log no longer has


async def a_gap_says_exactly_what_was_missed(stand: EventsStand) -> None:
    for name in "abcde":
        await stand.publish(name)
    await stand.trim(4)
    async with subscribed(stand.events, since=1) as subscriber:
        assert await subscriber.item() == EventItem(gap=Gap(first=2, last=3))
        assert await subscriber.names(2) == ["d", "e"]


async def a_log_trimmed_to_nothing_is_a_gap_up_to_the_last(stand: EventsStand) -> None:
    for name in "abc":
        await stand.publish(name)
    await stand.trim(4)
    page = await stand.events.poll(since=0)
    assert (page.gap, page.events, page.next) == (Gap(first=1, last=3), [], 3)
    assert (await stand.events.poll(since=3)).gap is None
    await stand.publish("d")
    assert [one.seq for one in (await stand.events.poll(since=3)).events] == [4]


async def a_filter_does_not_hide_a_gap(stand: EventsStand) -> None:
    for name in "abc":
        await stand.publish(name)
    await stand.trim(3)
    page = await stand.events.poll(since=0, filters=["event.name==nobody"])
    assert (page.gap, page.events, page.next) == (Gap(first=1, last=2), [], 3)


# --- polling


async def polling_page_by_page_gives_every_event_once(stand: EventsStand) -> None:
    for n in range(25):
        await stand.publish(str(n))
    seen: list[str] = []
    cursor = 0
    while (page := await stand.events.poll(since=cursor, limit=10)).events:
        assert len(page.events) <= 10
        seen += [name_of(one) for one in page.events]
        cursor = page.next
    assert seen == [str(n) for n in range(25)]
    assert page.next == cursor


async def a_poll_moves_on_past_what_its_filter_leaves_out(stand: EventsStand) -> None:
    for n in range(300):
        await stand.publish(str(n))
    page = await stand.events.poll(since=0, filters=["event.name==x"])
    assert (page.events, page.next) == ([], 300)


async def a_poll_without_since_tells_where_to_begin(stand: EventsStand) -> None:
    await stand.publish("a")
    page = await stand.events.poll()
    assert (page.events, page.next) == ([], 1)


async def a_waiting_poll_returns_with_the_first_match(stand: EventsStand) -> None:
    async with trio.open_nursery() as nursery:

        async def poll() -> None:
            page = await stand.events.poll(
                since=0, wait=30, filters=["event.name==wanted"]
            )
            assert [name_of(one) for one in page.events] == ["wanted"]
            nursery.cancel_scope.cancel()

        nursery.start_soon(poll)
        await trio.testing.wait_all_tasks_blocked()
        await stand.publish("other")
        await trio.testing.wait_all_tasks_blocked()
        await stand.publish("wanted")
        await trio.sleep_forever()


async def a_poll_with_bad_numbers_is_refused(stand: EventsStand) -> None:
    with pytest.raises(InvalidArgument, match="limit must not be negative"):
        await stand.events.poll(limit=-1)
    for wait in (-1.0, float("nan")):
        with pytest.raises(InvalidArgument, match="wait must be"):
            await stand.events.poll(wait=wait)


async def bounds_are_those_of_the_log(stand: EventsStand) -> None:
    for name in "abc":
        await stand.publish(name)
    await stand.trim(2)
    bounds = await stand.events.bounds()
    assert (bounds.first, bounds.last) == (2, 3)


SUITE: list[Callable[[EventsStand], Awaitable[None]]] = [
    published_events_have_their_place_time_and_namespace,
    publishing_needs_a_namespace,
    a_bad_topic_is_refused_and_nothing_is_stored,
    a_forwarded_event_keeps_its_namespace_and_time,
    a_forwarded_event_without_time_or_namespace_is_refused,
    a_subscriber_without_since_gets_only_new_events,
    a_subscriber_from_zero_gets_everything,
    a_subscriber_resumes_after_the_last_event_it_saw,
    a_subscriber_at_the_end_gets_what_comes,
    a_since_beyond_the_last_event_is_out_of_range,
    a_subscriber_sees_all_namespaces_unless_it_filters,
    filters_are_joined_by_or_and_look_into_the_event,
    a_bad_filter_is_refused_by_both_forms,
    what_is_sent_is_the_canonical_form_of_the_item,
    all_subscribers_see_one_order,
    what_was_rolled_back_is_never_seen,
    a_subscriber_that_stops_reading_holds_up_nobody,
    a_gap_says_exactly_what_was_missed,
    a_log_trimmed_to_nothing_is_a_gap_up_to_the_last,
    a_filter_does_not_hide_a_gap,
    polling_page_by_page_gives_every_event_once,
    a_poll_moves_on_past_what_its_filter_leaves_out,
    a_poll_without_since_tells_where_to_begin,
    a_waiting_poll_returns_with_the_first_match,
    a_poll_with_bad_numbers_is_refused,
    bounds_are_those_of_the_log,
]
