# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""`events.v1` for those who read: subscribe, poll; and what a forwarded event must be."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from pluggd.errors import InvalidArgument
from pluggd.exchange.exchange import Exchange
from pluggd.model.filters import Filter, parse_filters
from pluggd.model.identifiers import validate_namespace
from pluggd.model.record import Encoded, encode
from pluggd.model.topics import validate_topic
from pluggd.plugin import inline
from pluggd.services.envelope import Envelope
from pluggd.services.events import EventBounds, EventItem, EventPage
from pluggd.services.rpc import Send, SendMany

LONGEST_WAIT = 60.0
MOST_POLLED = 1000
POLLED_BYTES = 1024 * 1024


class EventReader:
    """`subscribe`, `poll` and `bounds` of an `Events`; a plugin adds how events come in."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.subscribers = 0
        self.reading: dict[object, int] = {}
        """Cursors of the subscribers that do not wait: what each has taken."""

    async def subscribe(
        self,
        *,
        filters: Sequence[str] = (),
        since: int | None = None,
        out: Send[Encoded[EventItem]],
    ) -> None:
        filter_ = parse_filters(filters)
        cursor = self._exchange.start(since)
        self.subscribers += 1
        reader = object()
        try:
            while True:
                if filter_.matches_all and isinstance(out, SendMany):
                    cursor = await self._exchange.follow(cursor, out)
                else:
                    await self._exchange.arrival(cursor)
                self.reading[reader] = cursor
                page = await self._exchange.after(cursor)
                if page.gap is not None:
                    gap = EventItem(gap=page.gap)
                    await out.send(Encoded(encode(gap), EventItem))
                items = [item.encoded for item in page.matching(filter_)]
                if isinstance(out, SendMany):
                    await out.send_many(items)
                else:
                    for item in items:
                        await out.send(item)
                cursor = page.next
                del self.reading[reader]
        except trio.BrokenResourceError:
            return  # nobody is listening any more
        finally:
            self.subscribers -= 1
            self.reading.pop(reader, None)

    async def poll(
        self,
        *,
        filters: Sequence[str] = (),
        since: int | None = None,
        limit: int = 0,
        wait: float = 0,
    ) -> EventPage:
        if limit < 0:
            raise InvalidArgument(
                f"limit must not be negative, got {limit}: invalid argument"
            )
        if not 0 <= wait <= LONGEST_WAIT:  # NaN is no number of seconds either
            raise InvalidArgument(
                f"wait must be a number of seconds from 0 to {LONGEST_WAIT:g}, "
                f"got {wait}: invalid argument"
            )
        filter_ = parse_filters(filters)
        cursor = self._exchange.start(since)
        most = min(limit or MOST_POLLED, MOST_POLLED)
        deadline = trio.current_time() + wait
        while True:
            page = await self._page(filter_, cursor, most)
            late = trio.current_time() >= deadline
            if page.events or page.gap is not None or late:
                return page
            cursor = page.next
            with trio.move_on_at(deadline) as scope:
                await self._exchange.arrival(cursor)
            if scope.cancelled_caught:
                return page

    @inline
    def bounds(self) -> EventBounds:
        return self._exchange.bounds()

    async def _page(self, filter_: Filter, cursor: int, most: int) -> EventPage:
        """What is there after the cursor now, and not what is added meanwhile: that may
        never end."""
        end = self._exchange.tail.last
        events: list[Envelope] = []
        gap = None
        size = 0
        while True:
            await trio.lowlevel.checkpoint()
            page = await self._exchange.after(cursor)
            if page.gap is not None:
                if events:
                    break  # it belongs behind these: for the next poll
                gap = page.gap
            for item in page.matching(filter_):
                events.append(item.envelope)
                size += len(item.data)
                if len(events) == most or size >= POLLED_BYTES:
                    return EventPage(events=events, gap=gap, next=item.seq)
            cursor = page.next
            if cursor >= end:
                break
        return EventPage(events=events, gap=gap, next=cursor)


def validate_envelope(envelope: Envelope) -> None:
    """Of an event made elsewhere. Raises InvalidArgument."""
    try:
        validate_namespace(envelope.namespace)
    except InvalidArgument as error:
        raise InvalidArgument(f"envelope has an invalid namespace: {error}") from None
    try:
        validate_topic(envelope.topic)
    except InvalidArgument as error:
        raise InvalidArgument(f"envelope has an invalid topic: {error}") from None
    if envelope.timestamp == 0:
        raise InvalidArgument(
            "timestamp must be set on a forwarded event: invalid argument"
        )
