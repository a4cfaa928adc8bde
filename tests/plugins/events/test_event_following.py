# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Those who take everything as it comes are sent it by the commit itself: in order, each
event once, whatever their credit, and never before the log has it."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from pluggd.core.calls import SendStream
from pluggd.model.record import Encoded
from pluggd.services.events import EventItem
from pluggd.services.metadata import Metadata, Transaction
from pluggd.services.rpc import Batch
from pluggd.services.schema import Stream
from pluggd.testing.memory import memory_metadata
from plugins.events.exchange import Exchange
from plugins.events.service import EventService
from tests.core.test_send_stream import FakeLine
from tests.plugins.events.test_event_service import delivery


def numbers(line: FakeLine) -> list[int]:
    return [item["envelope"]["seq"] for item in line.items()]


class Client:
    """A subscriber behind a stream of the server, and how often it was sent to at once."""

    def __init__(self, credit: int) -> None:
        self.line = FakeLine()
        self.direct = 0
        self.credit = credit
        outer = self

        class Counting(SendStream):
            def send_now(self, batch: Batch, /) -> bool:
                sent = super().send_now(batch)
                outer.direct += sent
                return sent

        self.stream = Counting(
            self.line,
            7,
            Stream(attribute="out", item=EventItem, credit=credit, chunk=0),
        )


async def emit(metadata: Metadata, count: int = 1) -> None:
    def change(txn: Transaction) -> None:
        for _ in range(count):
            txn.emit("ns", "/test/made", "t", {"name": "x"})

    await metadata.update(change)


@asynccontextmanager
async def following(
    *clients: Client, backlog: int = 100_000
) -> AsyncGenerator[tuple[Metadata, EventService, Exchange, trio.Nursery]]:
    async with (
        memory_metadata() as metadata,
        delivery(metadata, backlog=backlog) as (_, service, exchange),
        trio.open_nursery() as nursery,
    ):
        for client in clients:

            async def subscribe(client: Client = client) -> None:
                await service.subscribe(out=client.stream)

            nursery.start_soon(subscribe)
        await wait_all_tasks_blocked()
        yield metadata, service, exchange, nursery
        nursery.cancel_scope.cancel()


async def test_what_is_committed_is_sent_with_the_commit() -> None:
    client = Client(credit=100)
    async with following(client) as (metadata, _, _, _):
        for _ in range(5):
            await emit(metadata, 3)
            assert len(client.line.sent) == client.direct  # no task had a turn for it
        assert numbers(client.line) == list(range(1, 16))
        assert client.direct == 5


async def test_nothing_is_sent_that_is_rolled_back() -> None:
    client = Client(credit=100)
    async with following(client) as (metadata, _, _, _):

        def fail(txn: Transaction) -> None:
            txn.emit("ns", "/test/ghost", "t", {})
            raise RuntimeError("changed my mind")

        with pytest.raises(RuntimeError):
            await metadata.update(fail)
        await wait_all_tasks_blocked()
        assert client.line.sent == []
        await emit(metadata)
        assert numbers(client.line) == [1]


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_the_credit_each_event_comes_once_in_order(seed: int) -> None:
    chance = random.Random(seed)
    clients = [Client(credit=chance.choice([1, 5, 64])) for _ in range(4)]
    total = 0
    async with following(*clients, backlog=50) as (metadata, _, _, _):
        granted = [client.credit for client in clients]
        for turn in range(60):
            count = chance.choice([1, 1, 3, 20, 70])
            total += count
            await emit(metadata, count)
            for n, client in enumerate(clients):
                if chance.random() < 0.5:
                    more = chance.choice([1, 10, 100])
                    granted[n] += more
                    client.stream.add_credit(more)
                client.line.behind = chance.random() < 0.2
                if not client.line.behind:
                    client.line.catch_up()
            if chance.random() < 0.5:
                await wait_all_tasks_blocked()
            for n, client in enumerate(clients if turn % 6 == 0 else []):
                seen = numbers(client.line)
                assert seen == list(range(1, len(seen) + 1))
                assert len(seen) <= granted[n]
        for client in clients:
            client.stream.add_credit(10 * total)
            client.line.catch_up()
        await wait_all_tasks_blocked()
        for client in clients:
            assert numbers(client.line) == list(range(1, total + 1))
    assert sum(client.direct for client in clients) > 0


async def test_who_began_between_a_commit_and_its_news_is_sent_nothing_twice() -> None:
    async with memory_metadata() as metadata:
        exchange = Exchange(metadata, backlog_events=10, backlog_bytes=10_000)
        told: list[list[tuple[int, bytes]]] = []
        metadata.on_commit(told.append)
        client = Client(credit=100)
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                await emit(metadata, 2)  # durable, and the exchange has not heard of it
                since = exchange.start(None)
                assert since == 2
                nursery.start_soon(exchange.follow, since, client.stream)
                await wait_all_tasks_blocked()
                exchange.committed(told.pop())
                await wait_all_tasks_blocked()
                assert client.line.sent == []
                await emit(metadata)
                exchange.committed(told.pop())
                assert numbers(client.line) == [3]
                nursery.cancel_scope.cancel()


async def test_who_knows_a_part_of_the_news_reads_the_rest() -> None:
    async with memory_metadata() as metadata:
        exchange = Exchange(metadata, backlog_events=10, backlog_bytes=10_000)
        told: list[list[tuple[int, bytes]]] = []
        metadata.on_commit(told.append)
        client = Client(credit=100)
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                await emit(metadata, 2)
                since = exchange.start(None)
                found: list[int] = []

                async def follow() -> None:
                    found.append(await exchange.follow(since, client.stream))

                nursery.start_soon(follow)
                await wait_all_tasks_blocked()
                await emit(metadata, 2)
                exchange.committed([*told[0], *told[1]])
        assert (found, client.line.sent) == ([2], [])
        page = await exchange.after(2)
        assert [item.seq for item in page.items] == [3, 4]


async def test_one_that_is_cancelled_by_the_sending_itself_hurts_nobody() -> None:
    class Cutting(Client):
        scope: trio.CancelScope

    cut, other = Cutting(credit=100), Client(credit=100)
    async with following(other) as (metadata, service, exchange, nursery):

        class Last(SendStream):
            def send_now(self, batch: Batch, /) -> bool:
                cut.scope.cancel()  # as when its connection is cut for not reading
                return False

        out = Last(
            cut.line, 7, Stream(attribute="out", item=EventItem, credit=9, chunk=0)
        )

        async def subscribe() -> None:
            with trio.CancelScope() as cut.scope:
                await service.subscribe(out=out)

        nursery.start_soon(subscribe)
        await wait_all_tasks_blocked()
        await emit(metadata)
        await wait_all_tasks_blocked()
        assert exchange.waiting == service.subscribers == 1
        assert numbers(other.line) == [1]


async def test_what_goes_to_many_is_put_together_once_for_each_call_number() -> None:
    batch = Batch([Encoded(b"\x01", int), Encoded(b"\x02", int)])
    assert batch.framed(b"h") == b"h\x01h\x02"
    assert batch.framed(b"h") is batch.framed(b"h")
    assert batch.framed(b"i") == b"i\x01i\x02"
    for n in range(100):
        batch.framed(b"%d" % n)
    assert len(batch._framed) == Batch.KEPT  # pyright: ignore[reportPrivateUsage]
