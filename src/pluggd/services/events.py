# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Events: what changed, in one order, resumable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pluggd.model.record import Encoded, Record
from pluggd.model.types import Any
from pluggd.services.envelope import Envelope
from pluggd.services.kind import Kind
from pluggd.services.rpc import Send, rpc


class Gap(Record, frozen=True):
    """Events `first` to `last` (inclusive) are no longer in the log and were missed."""

    first: int = 0
    last: int = 0


class EventItem(Record, frozen=True):
    """One item of a subscription: an event, or the mark of a gap before the next one."""

    envelope: Envelope | None = None
    gap: Gap | None = None


class EventPage(Record, frozen=True):
    """What a poll found. `next`: the `since` of the next poll."""

    events: list[Envelope] = []
    gap: Gap | None = None
    next: int = 0


class EventBounds(Record, frozen=True):
    """First and last sequence number in the log; `first > last` when it is empty."""

    first: int = 0
    last: int = 0


class Events(Protocol):
    """One log for all namespaces. Filters are joined by or; each may be `namespace`,
    `topic`, or `event.<field>` with the operators of docs/rpc.md."""

    @rpc(result="seq")
    async def publish(self, *, topic: str, event: Any) -> int:
        """Append an event in the call's namespace; durable when it returns.

        Raises InvalidArgument (topic).
        """
        ...

    @rpc(result="seq", namespaced=False)
    async def forward(self, *, envelope: Envelope) -> int:
        """Append an event made elsewhere, with its own namespace and time.

        `seq` in the request is ignored. Raises InvalidArgument.
        """
        ...

    @rpc(namespaced=False, waits=True)
    async def subscribe(
        self,
        *,
        filters: Sequence[str] = (),
        since: int | None = None,
        out: Send[Encoded[EventItem]],
    ) -> None:
        """Send the events with a number above `since`, then those to come.

        since: None for only new ones, 0 for all that the log has. A subscriber that
        asks for, or falls behind, what the log no longer has gets a gap mark. Runs
        until cancelled. Raises InvalidArgument for a bad filter, OutOfRange for a
        `since` beyond the last event.
        """
        ...

    @rpc(namespaced=False, waits=True)
    async def poll(
        self,
        *,
        filters: Sequence[str] = (),
        since: int | None = None,
        limit: int = 0,
        wait: float = 0,
    ) -> EventPage:
        """One page of what `subscribe` would send, for clients without streams.

        wait: seconds to wait when there is nothing yet, from 0 to 60; InvalidArgument
        for others. limit: at most so many events; 0 for the daemon's bound, which is
        also what a greater one gets. Errors as in subscribe.
        """
        ...

    @rpc(result="bounds", namespaced=False)
    async def bounds(self) -> EventBounds:
        """What the log holds now; `last` is the `since` for "from here on"."""
        ...


EVENTS = Kind("pluggd.events.v1", Events)
