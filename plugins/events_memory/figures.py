# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How many events there were and are, and how their readers keep up, for monitoring."""

from __future__ import annotations

from pluggd.model.figures import Figure, counter, gauge

from .ring import Ring
from .service import MemoryEvents


def event_figures(ring: Ring, service: MemoryEvents, before: int) -> list[Figure]:
    """before: the number after which those of this start began."""
    tail = ring.tail
    return [
        counter("events", "Events since the start.", tail.last - before),
        gauge("events_backlog", "Events held in memory, the newest.", len(tail)),
        gauge("events_backlog_bytes", "Bytes of these.", tail.size),
        gauge("event_subscribers", "Open subscriptions.", service.subscribers),
        gauge(
            "event_readers_waiting",
            "Subscriptions and polls that have all there is.",
            ring.waiting,
        ),
    ]
