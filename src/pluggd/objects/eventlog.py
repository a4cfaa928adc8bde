# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The event log: one total order of numbers that never repeat.

The number of the next event follows from the last event in the table, or, after
everything was trimmed, from a mark that `trim` leaves. Both change in the
transaction that records the event, so a rolled back one leaves no hole.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from pluggd.model.record import encode
from pluggd.model.types import Any
from pluggd.objects import rows
from pluggd.objects.kv import KV, ReadKV
from pluggd.objects.tables import EVENTS, GRAPH
from pluggd.services.envelope import Envelope

_LAST = rows.STATE + b"last_event"


def _number(key: bytes) -> int:
    return int.from_bytes(key, "big")


def _key(seq: int) -> bytes:
    return max(seq, 0).to_bytes(8, "big")


def last_event(kv: ReadKV) -> int:
    """The number of the last event ever recorded, 0 when there was none."""
    pair = kv.last(EVENTS)
    if pair is not None:
        return _number(pair[0])
    return _number(kv.get(GRAPH, _LAST) or b"")


def event_bounds(kv: ReadKV) -> tuple[int, int]:
    """First and last number in the log; (n + 1, n) when it is empty."""
    last = last_event(kv)
    for key, _ in kv.seek(EVENTS, b""):
        return _number(key), last
    return last + 1, last


def events(kv: ReadKV, after: int) -> Iterator[tuple[int, bytes]]:
    for key, data in kv.seek(EVENTS, _key(after + 1)):
        yield _number(key), data


def append_event(
    kv: KV,
    *,
    timestamp: int,
    namespace: str,
    topic: str,
    type_url: str,
    value: object,
) -> tuple[int, bytes]:
    """Record an event; its number and its encoded Envelope."""
    # Nobody else appends to what this transaction sees.
    last: int | None = kv.notes.get(_LAST)
    seq = (last_event(kv) if last is None else last) + 1
    data = encode(
        Envelope(
            seq=seq,
            timestamp=timestamp,
            namespace=namespace,
            topic=topic,
            event=Any(type_url=type_url, value=value),
        )
    )
    kv.put(EVENTS, _key(seq), data)
    kv.notes[_LAST] = seq
    return seq, data


def trim_events(kv: KV, before: int) -> int:
    """Remove the events with a number below `before`; how many."""
    kv.put(GRAPH, _LAST, _key(last_event(kv)))
    count = 0
    while batch := [
        key for key, _ in islice(kv.seek(EVENTS, _key(0), _key(before)), 1000)
    ]:
        for key in batch:
            kv.delete(EVENTS, key)
        count += len(batch)
    return count
