# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How long the log is: by number, by age, by bytes; and the task that keeps it so.

The log is seen as segments of a thousand events, each with its bytes and the time
of its newest; that is enough to decide with, and costs nothing per event. Trimming
is rare and goes in short transactions, so that writers hardly notice it.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable

import trio

from pluggd.errors import PluggdError
from pluggd.model.record import Record, decode
from pluggd.services.metadata import Metadata, Transaction, View
from pluggd.struct import Struct

SEGMENT = 1000
OUTLINE = 500
PERIOD = 60.0
STEP = 2000
"""Events removed by one transaction: some milliseconds of the writer's time."""


class _Dated(Record, frozen=True):
    """What counts of a stored event; the rest is skipped."""

    timestamp: int = 0


class Limits(Struct, frozen=True):
    """What the log may hold; 0 is no limit. max_age in seconds."""

    max_events: int
    max_age: float
    max_bytes: int


class Segment(Struct):
    """Some neighbouring events, up to `last`; `newest`: ns since the epoch."""

    last: int
    count: int
    size: int
    newest: int

    def add(self, seq: int, size: int, now: int) -> None:
        self.last = seq
        self.count += 1
        self.size += size
        self.newest = max(self.newest, now)


class Segments:
    """The log in outline, oldest first."""

    def __init__(self) -> None:
        self._segments: deque[Segment] = deque()
        self.size = 0

    def __len__(self) -> int:
        return len(self._segments)

    def add(self, seq: int, size: int, now: int) -> None:
        """A new event at the end."""
        self.size += size
        if self._segments and self._segments[-1].count < SEGMENT:
            self._segments[-1].add(seq, size, now)
        else:
            self._segments.append(Segment(seq, 1, size, now))

    def put_before(self, earlier: Segments) -> None:
        """What was in the log before the first `add`."""
        self._segments.extendleft(reversed(earlier._segments))
        self.size += earlier.size

    def expired(self, limits: Limits, now: int) -> int:
        """Up to which number events are too old or too much; 0 for none."""
        found = 0
        size = self.size
        for segment in self._segments:
            too_old = limits.max_age > 0 and segment.newest < now - limits.max_age * 1e9
            if not too_old and not 0 < limits.max_bytes < size:
                break
            size -= segment.size
            found = segment.last
        return found

    def forget(self, up_to: int) -> None:
        """Drop the segments that ended at or before this number."""
        while self._segments and self._segments[0].last <= up_to:
            self.size -= self._segments.popleft().size


class Retention:
    """Trims the log of `metadata` to `limits` while `run_forever` runs, and calls
    `trimmed` with the first number that is left."""

    def __init__(
        self,
        metadata: Metadata,
        limits: Limits,
        *,
        trimmed: Callable[[int], None],
        log: logging.LoggerAdapter[logging.Logger],
    ) -> None:
        self._metadata = metadata
        self._trimmed = trimmed
        self._log = log
        self._segments = Segments()
        self._before = metadata.read(lambda view: view.event_bounds()[1])
        self._new = 0
        self._enough = trio.Event()
        self._limits, self._every = limits, _every(limits)

    def limit(self, limits: Limits) -> None:
        """Other limits, from now on; what is over them goes soon."""
        if limits != self._limits:
            self._limits, self._every = limits, _every(limits)
            self._enough.set()

    def committed(self, batch: list[tuple[int, bytes]]) -> None:
        """Take note of new events; the callback for `Metadata.on_commit`."""
        now = time.time_ns()
        for seq, data in batch:
            if seq > self._before:
                self._segments.add(seq, len(data), now)
        self._new += len(batch)
        if self._new >= self._every:
            self._enough.set()

    async def run_forever(self) -> None:
        self._segments.put_before(await self.outline())
        while True:
            try:
                await self.trim()
            except PluggdError as error:
                self._log.warning("event log not trimmed, trying again: %s", error)
            with trio.move_on_after(PERIOD):
                await self._enough.wait()
            self._new = 0
            self._enough = trio.Event()

    async def trim(self) -> int:
        """Remove what is over the limits; how many events."""
        first, last = self._metadata.read(lambda view: view.event_bounds())
        keep_from = self._segments.expired(self._limits, time.time_ns()) + 1
        if self._limits.max_events > 0:
            keep_from = max(keep_from, last - self._limits.max_events + 1)
        removed = 0
        while first < keep_from:
            first = min(first + STEP, keep_from)
            removed += await self._metadata.update(
                _trim_to(first), reclaim=True, long=True
            )
            self._trimmed(first)
        self._segments.forget(keep_from - 1)
        if removed:
            self._log.debug("trimmed %d events, up to %d", removed, keep_from - 1)
        return removed

    async def outline(self) -> Segments:
        """The log as it was at the start, read in pieces."""
        segments = Segments()
        cursor = newest = 0
        while cursor < self._before:
            found, time_ = await self._metadata.view(_outline_after(cursor))
            if not found:
                break
            # Its time is the sender's, but it came no earlier than those before it.
            newest = max(newest, min(time_, time.time_ns()))
            for seq, size in found:
                if seq <= self._before:
                    segments.add(seq, size, newest)
                cursor = seq
        return segments


def _every(limits: Limits) -> int:
    """After how many events somebody looks: a log of ten must not grow to a thousand."""
    if limits.max_events <= 0:
        return SEGMENT
    return min(SEGMENT, max(limits.max_events // 10, 1))


def _trim_to(before: int) -> Callable[[Transaction], int]:
    return lambda txn: txn.trim_events(before)


def _outline_after(cursor: int) -> Callable[[View], tuple[list[tuple[int, int]], int]]:
    """Number and size of the next events, and the newest of their times."""

    def read(view: View) -> tuple[list[tuple[int, int]], int]:
        found: list[tuple[int, int]] = []
        newest = 0
        for seq, data in view.events(cursor):
            found.append((seq, len(data)))
            newest = max(newest, decode(data, _Dated).timestamp)
            if len(found) == OUTLINE:
                break
        return found, newest

    return read
