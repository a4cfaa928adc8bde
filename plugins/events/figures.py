# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How much is in the log and how its readers keep up, for monitoring."""

from __future__ import annotations

from pluggd.model.figures import Figure, counter, gauge

from .exchange import Exchange
from .service import EventService


def event_figures(exchange: Exchange, service: EventService) -> list[Figure]:
    bounds = exchange.bounds()
    tail = exchange.tail
    return [
        counter("events", "Events since the root was made.", bounds.last),
        gauge("events_logged", "Events in the log.", bounds.last - bounds.first + 1),
        gauge("events_backlog", "Events held in memory, the newest.", len(tail)),
        gauge("events_backlog_bytes", "Bytes of these.", tail.size),
        gauge("event_subscribers", "Open subscriptions.", service.subscribers),
        gauge(
            "event_subscribers_reading",
            "Subscriptions to whom events are being sent.",
            len(service.reading),
        ),
        gauge(
            "event_subscriber_lag",
            "Events that the slowest of them has still to take.",
            tail.last - min(service.reading.values(), default=tail.last),
        ),
        gauge(
            "event_readers_waiting",
            "Subscriptions and polls that have all there is.",
            exchange.waiting,
        ),
        counter(
            "event_log_reads",
            "Pages read from the log, for readers whom the memory is too short for.",
            exchange.log_reads,
        ),
    ]
