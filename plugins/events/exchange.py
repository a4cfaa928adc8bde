# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reading events in order, from memory or from the log, whichever has them.

The exchange is told of each commit by the metadata store and does no more then
than append to the tail and to wake who waits: filters run in the readers' own
tasks, so their cost is never a publisher's.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import trio

from pluggd.errors import InvalidArgument, OutOfRange
from pluggd.model.filters import Filter
from pluggd.services.events import EventBounds, Gap
from pluggd.services.metadata import Metadata, View
from plugins.events.matching import envelope_fields
from plugins.events.tail import Item, Tail

PAGE_EVENTS = 128
"""Read at once: about a millisecond of filters before other tasks have their turn."""

PAGE_BYTES = 1024 * 1024
"""A page from the log ends after this much; what a stopped reader holds at most."""


@dataclass
class Page:
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


class Exchange:
    """All events, from the oldest in the log to the newest in memory."""

    def __init__(
        self, metadata: Metadata, *, backlog_events: int, backlog_bytes: int
    ) -> None:
        self._metadata = metadata
        self._waiting = trio.lowlevel.ParkingLot()
        _, last = metadata.read(lambda view: view.event_bounds())
        self.tail = Tail(last, max_events=backlog_events, max_bytes=backlog_bytes)
        self.log_reads = 0

    def committed(self, batch: list[tuple[int, bytes]]) -> None:
        """Take note of new events; the callback for `Metadata.on_commit`."""
        self.tail.add(batch)
        self._waiting.unpark_all()

    def bounds(self) -> EventBounds:
        first, last = self._metadata.read(lambda view: view.event_bounds())
        self.tail.trimmed(first)
        return EventBounds(first=first, last=last)

    @property
    def waiting(self) -> int:
        """How many readers have all there is and wait for more."""
        return self._waiting.statistics().tasks_waiting

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

        Waits only for what is read from the log: whoever reads page after page lets
        others have their turn in between, as `arrival` does.
        """
        items = self.tail.after(cursor, PAGE_EVENTS)
        if items is None:
            self.log_reads += 1
            return await self._metadata.view(lambda view: _read(view, cursor))
        return Page(items[-1].seq if items else cursor, items=items)

    async def arrival(self, cursor: int) -> None:
        """Wait until there is an event after the cursor; others have their turn."""
        if self.tail.last > cursor:
            await trio.lowlevel.checkpoint()
        while self.tail.last <= cursor:
            await self._waiting.park()


def _read(view: View, cursor: int) -> Page:
    first, last = view.event_bounds()
    page = Page(cursor)
    if cursor + 1 < first:
        page.gap = Gap(first=cursor + 1, last=first - 1)
        page.next = first - 1
    if page.next >= last:
        return page
    size = 0
    for seq, data in view.events(page.next):
        page.items.append(Item(seq, bytes(data)))
        page.next = seq
        size += len(data)
        if len(page.items) == PAGE_EVENTS or size >= PAGE_BYTES:
            break
    return page
