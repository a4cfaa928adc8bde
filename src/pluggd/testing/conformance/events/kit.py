# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the rules of events are tried with."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio
import trio.testing

from pluggd.model.record import Encoded
from pluggd.model.types import Any
from pluggd.services import call
from pluggd.services.envelope import Envelope
from pluggd.services.events import EventItem, Events
from pluggd.services.metadata import Metadata


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
