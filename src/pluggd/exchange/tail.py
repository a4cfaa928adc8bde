# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The newest events, in memory, shared by all subscribers.

There is one tail, not a queue for each subscriber: a subscriber is a number, the
last event that it took, so a thousand slow ones cost no memory and a publisher
never waits for any. Whoever wants an event that has left the tail reads the log.
An event is decoded and wrapped for delivery at most once, however many take it.
"""

from __future__ import annotations

from collections.abc import Iterable

from pluggd.model.record import Encoded, decode
from pluggd.services.envelope import Envelope
from pluggd.services.events import EventItem

_ENVELOPE = b"\x81\xa8envelope"
"""The start of a map with one key; the stored bytes of an envelope complete it."""


class Item:
    """One event as it is stored; decoded and wrapped when first asked for."""

    __slots__ = ("_encoded", "_envelope", "data", "seq")

    def __init__(self, seq: int, data: bytes) -> None:
        self.seq = seq
        self.data = data
        self._envelope: Envelope | None = None
        self._encoded: Encoded[EventItem] | None = None

    @property
    def envelope(self) -> Envelope:
        if self._envelope is None:
            self._envelope = decode(self.data, Envelope)
        return self._envelope

    def load(self) -> Envelope:
        """As `envelope`, for whoever wants a function."""
        return self.envelope

    @property
    def encoded(self) -> Encoded[EventItem]:
        """The bytes of `EventItem(envelope=...)`."""
        if self._encoded is None:
            self._encoded = Encoded(_ENVELOPE + self.data, EventItem)
        return self._encoded


class Tail:
    """Events `first` to `last`, without a hole; empty when `first` is `last + 1`."""

    def __init__(self, last: int, *, max_events: int, max_bytes: int) -> None:
        self.first = last + 1
        self.last: int = last
        self.size = 0
        self._items: dict[int, Item] = {}
        self._max_events = max(max_events, 1)
        self._max_bytes = max_bytes

    def __len__(self) -> int:
        return len(self._items)

    def limit(self, *, max_events: int, max_bytes: int) -> None:
        """Other limits, from now on."""
        self._max_events = max(max_events, 1)
        self._max_bytes = max_bytes
        self._keep_within()

    def _keep_within(self) -> None:
        while len(self._items) > self._max_events or (
            self.size > self._max_bytes and len(self._items) > 1
        ):
            self._drop_first()

    def add(self, batch: Iterable[tuple[int, bytes]]) -> None:
        """Append events in order; the oldest leave when there are too many."""
        for seq, data in batch:
            if seq <= self.last:
                continue  # it was in the log when the tail began
            if seq != self.last + 1:
                self._items.clear()
                self.size = 0
                self.first = seq
            self._items[seq] = Item(seq, data)
            self.last = seq
            self.size += len(data)
            self._keep_within()

    def trimmed(self, first: int) -> None:
        """Forget what the log has no more: all below `first`. Otherwise the same
        question would sometimes be answered with events and sometimes with a gap."""
        while self._items and self.first < first:
            self._drop_first()

    def after(self, cursor: int, limit: int) -> list[Item] | None:
        """At most `limit` events after `cursor`; None when some of them have left."""
        if cursor + 1 < self.first:
            return None
        end = min(self.last, cursor + limit)
        items = self._items
        return [items[seq] for seq in range(cursor + 1, end + 1)]

    def _drop_first(self) -> None:
        self.size -= len(self._items.pop(self.first).data)
        self.first += 1
