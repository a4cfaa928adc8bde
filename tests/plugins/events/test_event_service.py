# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Delivery as the log provides it: slow readers, restarts, and what is left behind."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from pluggd.exchange.exchange import PAGE_EVENTS, Page
from pluggd.model.record import Encoded
from pluggd.services.events import EventItem, Gap
from pluggd.services.metadata import Metadata, Transaction
from pluggd.testing.conformance.events.kit import EventsStand, name_of, subscribed
from pluggd.testing.memory import memory_metadata
from plugins.events.appending import Appender
from plugins.events.exchange import Exchange
from plugins.events.service import EventService


@asynccontextmanager
async def delivery(
    metadata: Metadata, *, backlog: int = 100_000
) -> AsyncGenerator[tuple[EventsStand, EventService, Exchange]]:
    exchange = Exchange(metadata, backlog_events=backlog, backlog_bytes=2**30)
    metadata.on_commit(exchange.committed)
    appender = Appender(metadata)
    service = EventService(appender, exchange)
    with trio.fail_after(100):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(appender.run_forever)
            yield EventsStand(service, metadata), service, exchange
            nursery.cancel_scope.cancel()


async def test_ten_thousand_concurrent_events_have_one_order() -> None:
    publishers, each = 20, 500
    seen: list[list[tuple[int, str]]] = [[], []]
    async with memory_metadata() as metadata, delivery(metadata) as (stand, _, _):

        async def publish(who: int) -> None:
            for n in range(each):
                await stand.publish(f"{who}-{n}")

        async def take(credit: int, into: list[tuple[int, str]]) -> None:
            async with subscribed(stand.events, since=0, credit=credit) as subscriber:
                for _ in range(publishers * each):
                    envelope = await subscriber.envelope()
                    into.append((envelope.seq, name_of(envelope)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take, 0, seen[0])
            nursery.start_soon(take, 100, seen[1])
            for who in range(publishers):
                nursery.start_soon(publish, who)
    assert seen[0] == seen[1]
    assert [seq for seq, _ in seen[0]] == list(range(1, publishers * each + 1))
    for who in range(publishers):
        own = [name for _, name in seen[0] if name.startswith(f"{who}-")]
        assert own == [f"{who}-{n}" for n in range(each)]


async def test_a_reader_that_fell_behind_reads_on_from_the_log() -> None:
    async with (
        memory_metadata() as metadata,
        delivery(metadata, backlog=5) as (stand, _, exchange),
        subscribed(stand.events, credit=0) as slow,
    ):
        for n in range(1000):
            await stand.publish(str(n))
        assert len(exchange.tail) == 5
        assert await slow.names(1000) == [str(n) for n in range(1000)]
        assert exchange.log_reads >= 1000 // PAGE_EVENTS


async def test_a_reader_that_fell_too_far_behind_is_told_what_it_missed() -> None:
    async with (
        memory_metadata() as metadata,
        delivery(metadata, backlog=5) as (stand, _, _),
        subscribed(stand.events, credit=0) as slow,
    ):
        for n in range(1, 501):
            await stand.publish(str(n))
        await stand.trim(401)
        held = 0
        while (item := await slow.item()).envelope is not None:
            held += 1
            assert item.envelope.seq == held
        assert held <= PAGE_EVENTS
        assert item.gap == Gap(first=held + 1, last=400)
        assert await slow.names(100) == [str(n) for n in range(401, 501)]


async def test_a_subscriber_resumes_after_a_restart() -> None:
    async with memory_metadata() as metadata:
        async with delivery(metadata) as (stand, _, _):
            for name in "abc":
                await stand.publish(name)
        async with delivery(metadata) as (stand, _, exchange):
            assert len(exchange.tail) == 0
            async with subscribed(stand.events, since=1) as subscriber:
                await stand.publish("d")
                assert await subscriber.names(3) == ["b", "c", "d"]


async def test_a_cancelled_subscriber_leaves_nothing_behind() -> None:
    async with (
        memory_metadata() as metadata,
        delivery(metadata) as (stand, service, exchange),
    ):
        for _ in range(5):
            async with subscribed(stand.events), subscribed(stand.events, credit=0):
                await stand.publish("a")
                await wait_all_tasks_blocked()
                assert service.subscribers == 2
        assert service.subscribers == 0
        assert exchange.waiting == 0


async def test_a_subscription_ends_when_nobody_listens() -> None:
    async with memory_metadata() as metadata, delivery(metadata) as (stand, service, _):
        send, receive = trio.open_memory_channel[Encoded[EventItem]](0)
        await stand.publish("a")
        receive.close()
        await stand.events.subscribe(since=0, out=send)
        assert service.subscribers == 0


async def test_a_thousand_subscribers_share_one_copy() -> None:
    async with (
        memory_metadata() as metadata,
        delivery(metadata) as (stand, service, exchange),
        trio.open_nursery() as nursery,
    ):
        taken: list[Encoded[EventItem]] = []

        class Take:
            async def send(self, value: Encoded[EventItem], /) -> None:
                await trio.lowlevel.checkpoint()
                taken.append(value)

        async def subscribe() -> None:
            await stand.events.subscribe(filters=["event.name==a"], out=Take())

        for _ in range(1000):
            nursery.start_soon(subscribe)
        await wait_all_tasks_blocked()
        assert exchange.waiting == service.subscribers == 1000
        await stand.publish("a")
        await wait_all_tasks_blocked()
        assert len(taken) == 1000
        assert len({id(one) for one in taken}) == 1
        nursery.cancel_scope.cancel()


async def test_a_poll_waits_as_long_as_it_is_told(autojump_clock: MockClock) -> None:
    async with (
        memory_metadata() as metadata,
        delivery(metadata) as (stand, _, exchange),
    ):
        began = trio.current_time()
        page = await stand.events.poll(wait=7.5)
        assert trio.current_time() - began == 7.5
        assert (page.events, page.gap, page.next) == ([], None, 0)
        assert exchange.waiting == 0


async def test_a_poll_waits_as_long_as_it_was_asked_to(
    autojump_clock: MockClock,
) -> None:
    async with memory_metadata() as metadata, delivery(metadata) as (stand, _, _):
        began = trio.current_time()
        await stand.events.poll(wait=60)
        assert trio.current_time() - began == 60


async def test_events_that_do_not_match_do_not_prolong_a_poll(
    autojump_clock: MockClock,
) -> None:
    async with (
        memory_metadata() as metadata,
        delivery(metadata) as (stand, _, _),
        trio.open_nursery() as nursery,
    ):

        async def chatter() -> None:
            while True:
                await stand.publish("noise")
                await trio.sleep(1)

        nursery.start_soon(chatter)
        began = trio.current_time()
        page = await stand.events.poll(filters=["event.name==x"], wait=10)
        assert trio.current_time() - began == 10
        assert page.next >= 10
        nursery.cancel_scope.cancel()


async def test_a_poll_that_always_finds_something_else_ends_in_time() -> None:
    async with (
        memory_metadata() as metadata,
        delivery(metadata) as (stand, _, _),
        trio.open_nursery() as nursery,
    ):

        def noise(txn: Transaction) -> None:
            for _ in range(2 * PAGE_EVENTS):  # more than is read at once
                txn.emit("ns", "/noise", "", None)

        async def chatter() -> None:
            while True:
                await metadata.update(noise)

        nursery.start_soon(chatter)
        with trio.fail_after(10):
            await stand.events.poll(filters=["event.name==x"], wait=0.02)
        nursery.cancel_scope.cancel()


async def test_a_gap_within_a_page_is_for_the_next_poll() -> None:
    class Trimming(Exchange):
        """Its log loses events while a poll reads."""

        async def after(self, cursor: int) -> Page:
            page = await super().after(cursor)
            if cursor == 0:
                await metadata.update(lambda txn: txn.trim_events(250))
            return page

    async with memory_metadata() as metadata, delivery(metadata) as (stand, _, _):
        for n in range(300):
            await stand.publish(str(n))
        exchange = Trimming(metadata, backlog_events=1, backlog_bytes=1)
        events = EventService(Appender(metadata), exchange)
        page = await events.poll(since=0)
        assert page.gap is None
        assert [one.seq for one in page.events] == list(range(1, PAGE_EVENTS + 1))
        page = await events.poll(since=page.next)
        assert page.gap == Gap(first=PAGE_EVENTS + 1, last=249)
        assert [one.seq for one in page.events] == list(range(250, 301))


async def test_a_page_of_large_events_is_cut_short() -> None:
    async with memory_metadata() as metadata, delivery(metadata) as (stand, _, _):
        for _ in range(30):
            await stand.publish("x" * 100_000)
        page = await stand.events.poll(since=0)
        assert 10 <= len(page.events) < 15
        assert page.next == page.events[-1].seq
