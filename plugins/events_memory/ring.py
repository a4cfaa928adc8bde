# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The events, numbered: those that are published here and those that stores commit.

A store's event has a number of the metadata store's log already; here it gets that of
its place among all. Numbers go on where those of an earlier start can at most have been,
so a cursor from then is told a gap instead of finding other events under its number.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from pluggd.exchange.exchange import Exchange
from pluggd.model.record import decode, encode, replace, spliced
from pluggd.model.types import Any
from pluggd.objects.records import stored_form
from pluggd.services.envelope import Envelope
from pluggd.services.metadata import Metadata, Transaction

EPOCH = 1 << 40
"""Numbers of one start: more than events can come."""

_STARTS = "events_memory"


async def first_number(metadata: Metadata) -> int:
    """The number after which those of this start begin: what was before is over, by an
    earlier start or by another provider that read the metadata store's log."""

    def take(txn: Transaction) -> int:
        _, last = txn.event_bounds()
        return max((txn.sequence("", _STARTS) - 1) * EPOCH, last)

    return await metadata.update(take)


class Ring(Exchange):
    """The newest events. last: see `first_number`."""

    def publish(self, envelope: Envelope) -> int:
        """Number an event and tell it to all who wait. Raises InvalidArgument for what
        cannot be encoded."""
        event = envelope.event
        data = stored_form(event.value, "event")
        value = None if event.value is None else spliced(data)
        seq = self.tail.last + 1
        numbered = replace(
            envelope, seq=seq, event=Any(type_url=event.type_url, value=value)
        )
        self.committed([(seq, encode(numbered))])
        return seq

    def stored(self, batch: Sequence[tuple[int, bytes]]) -> None:
        """Take events that stores committed; the callback for `Metadata.on_commit`."""
        seq = self.tail.last
        renumbered: list[tuple[int, bytes]] = []
        for _, data in batch:
            seq += 1
            renumbered.append((seq, encode(replace(decode(data, Envelope), seq=seq))))
        self.committed(renumbered)


def made(namespace: str, topic: str, event: Any) -> Envelope:
    """An event that happened now."""
    return Envelope(
        timestamp=time.time_ns(), namespace=namespace, topic=topic, event=event
    )
