# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The exchange whose past is the log of the metadata store, which tells it of commits."""

from __future__ import annotations

from pluggd.exchange.exchange import PAGE_BYTES, PAGE_EVENTS, Page
from pluggd.exchange.exchange import Exchange as AnyExchange
from pluggd.exchange.tail import Item
from pluggd.services.events import EventBounds, Gap
from pluggd.services.metadata import Metadata, View


class Exchange(AnyExchange):
    """All events, from the oldest in the log to the newest in memory."""

    def __init__(
        self, metadata: Metadata, *, backlog_events: int, backlog_bytes: int
    ) -> None:
        _, last = metadata.read(lambda view: view.event_bounds())
        super().__init__(
            last, backlog_events=backlog_events, backlog_bytes=backlog_bytes
        )
        self._metadata = metadata
        self.log_reads = 0

    def bounds(self) -> EventBounds:
        first, last = self._metadata.read(lambda view: view.event_bounds())
        self.tail.trimmed(first)
        return EventBounds(first=first, last=last)

    async def older(self, cursor: int) -> Page:
        self.log_reads += 1
        return await self._metadata.view(lambda view: _read(view, cursor))


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
