# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reading events in order: the newest from memory, older ones from wherever they are.

The exchange is told of new events by who has them. It appends to the tail,
hands the new events to those who follow, and wakes who else waits. A follower takes
everything and takes it without waiting, so that is a few microseconds for each, and
what is sent is put together once for all of them. Whoever filters, or is behind, reads
in a task of its own: the cost is never a publisher's.
"""

from __future__ import annotations

import trio

from pluggd.errors import InvalidArgument, OutOfRange
from pluggd.exchange.matching import envelope_fields
from pluggd.exchange.tail import Item, Tail
from pluggd.model.filters import Filter
from pluggd.model.record import Encoded
from pluggd.services.events import EventBounds, EventItem, Gap
from pluggd.services.rpc import Batch, SendMany
from pluggd.struct import Struct, field

PAGE_EVENTS = 128
"""Read at once: about a millisecond of filters before other tasks have their turn."""

PAGE_BYTES = 1024 * 1024
"""A page from the log ends after this much; what a stopped reader holds at most."""


class Page(Struct):
    """What followed a cursor: a gap first, then events; `next` is the cursor now."""

    next: int
    gap: Gap | None = None
    items: list[Item] = field(default_factory=list[Item])

    def matching(self, filter_: Filter) -> list[Item]:
        if filter_.matches_all:
            return self.items
        return [
            item for item in self.items if filter_.match(envelope_fields(item.load))
        ]


_GONE = object()


class _Follower:
    """A reader that waits for all that comes after its cursor, and how to send it."""

    __slots__ = ("cursor", "out", "task")

    def __init__(
        self, cursor: int, out: SendMany[Encoded[EventItem]], task: trio.lowlevel.Task
    ) -> None:
        self.cursor = cursor
        self.out = out
        self.task = task


class Exchange:
    """All events. last: the number of the newest before it began; what is before that,
    and what has left the tail, is for a subclass to know: here it is a gap."""

    def __init__(self, last: int, *, backlog_events: int, backlog_bytes: int) -> None:
        self._waiting = trio.lowlevel.ParkingLot()
        self._followers: dict[_Follower, None] = {}
        self.tail = Tail(last, max_events=backlog_events, max_bytes=backlog_bytes)

    def committed(self, batch: list[tuple[int, bytes]]) -> None:
        """Take note of new events, in order; fit for `Metadata.on_commit`."""
        before = self.tail.last
        self.tail.add(batch)
        if self.tail.last > before:
            if self._followers:
                self._send_on(before)
            self._waiting.unpark_all()

    def _send_on(self, before: int) -> None:
        """Give the followers what came after `before`; wake those that cannot take it
        now, who will find it in the tail."""
        items = self.tail.after(before, self.tail.last - before)
        batch = Batch([item.encoded for item in items]) if items else None
        last = self.tail.last
        for follower in list(self._followers):
            if follower.cursor >= last:
                continue  # it looked into the log before this was told
            if follower.cursor == before and batch and follower.out.send_now(batch):
                follower.cursor = last
            elif (
                self._followers.pop(follower, _GONE) is None
            ):  # not cancelled meanwhile
                trio.lowlevel.reschedule(follower.task)

    def bounds(self) -> EventBounds:
        """First and last number that can be had."""
        return EventBounds(first=self.tail.first, last=self.tail.last)

    @property
    def waiting(self) -> int:
        """How many readers have all there is and wait for more."""
        return self._waiting.statistics().tasks_waiting + len(self._followers)

    def start(self, since: int | None) -> int:
        """The cursor of a reader who asks for what came after `since`.

        Raises InvalidArgument for a negative number, OutOfRange for one that is not
        yet given.
        """
        last = self.bounds().last
        if since is None:
            return last
        if since < 0:
            raise InvalidArgument(
                f"since must not be negative, got {since}: invalid argument"
            )
        if since > last:
            raise OutOfRange(
                f"since {since} is beyond the last event {last}: out of range"
            )
        return since

    async def after(self, cursor: int) -> Page:
        """The events after a cursor, as many as fit a page; empty at the end.

        Waits only for what is not in memory: whoever reads page after page lets
        others have their turn in between, as `arrival` does.
        """
        items = self.tail.after(cursor, PAGE_EVENTS)
        if items is None:
            return await self.older(cursor)
        return Page(items[-1].seq if items else cursor, items=items)

    async def older(self, cursor: int) -> Page:
        """As `after`, when what follows the cursor has left the tail."""
        await trio.lowlevel.checkpoint()
        first = self.tail.first
        if cursor + 1 >= first:
            return Page(cursor)
        items = self.tail.after(first - 1, PAGE_EVENTS) or []
        page = Page(first - 1, Gap(first=cursor + 1, last=first - 1), items)
        page.next = items[-1].seq if items else page.next
        return page

    async def arrival(self, cursor: int) -> None:
        """Wait until there is an event after the cursor; others have their turn."""
        if self.tail.last > cursor:
            await trio.lowlevel.checkpoint()
        while self.tail.last <= cursor:
            await self._waiting.park()

    async def follow(self, cursor: int, out: SendMany[Encoded[EventItem]]) -> int:
        """As `arrival`, but what comes is sent to `out` at once as long as that takes it.
        Returns the cursor when there is something after it that was not sent."""
        if self.tail.last > cursor:
            await trio.lowlevel.checkpoint()
            return cursor
        follower = _Follower(cursor, out, trio.lowlevel.current_task())
        self._followers[follower] = None

        def abandon(_: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
            del self._followers[follower]
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abandon)
        return follower.cursor
