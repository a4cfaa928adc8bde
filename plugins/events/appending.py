# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Published events on their way into the log, all that wait in one update.

An update costs a job, a child transaction and a wake-up; an event in it two
microseconds. So what is published while an update is under way waits for its end and
goes with the next, in the order in which it came: that of each publisher is kept.
Each has its own outcome all the same.
"""

from __future__ import annotations

import time
from collections import deque

import trio

from pluggd.errors import PluggdError, ResourceExhausted, Unavailable
from pluggd.model.record import spliced
from pluggd.objects.records import stored_form
from pluggd.plugin import Deferred
from pluggd.services.metadata import Metadata, Transaction

MOST_EVENTS = 512
MOST_BYTES = 1024 * 1024
"""Of one update: everybody else's wait for it, so it shall take a millisecond or two."""

GATHER = 200e-6
"""Seconds from the first event to an update for the others to come, if there were
others before: less than an update takes, and more than an answer and the next event."""


class Append(Deferred[int]):
    """One event to be recorded; its outcome is its number.

    timestamp: None for that of the transaction.
    """

    __slots__ = ("namespace", "size", "timestamp", "topic", "type_url", "value")

    def __init__(
        self,
        namespace: str,
        topic: str,
        type_url: str,
        value: object,
        timestamp: int | None = None,
    ) -> None:
        """Raises InvalidArgument for what cannot be encoded: nobody else's fate shall
        depend on it."""
        super().__init__()
        self.namespace = namespace
        self.topic = topic
        self.type_url = type_url
        self.timestamp = timestamp
        data = stored_form(value, "event")
        self.value = None if value is None else spliced(data)
        self.size = len(data) + len(topic) + len(type_url)

    def run(self, txn: Transaction) -> int:
        """Record it; its number."""
        if self.timestamp is None:
            return txn.emit(self.namespace, self.topic, self.type_url, self.value)
        return txn.append_event(
            timestamp=self.timestamp,
            namespace=self.namespace,
            topic=self.topic,
            type_url=self.type_url,
            value=self.value,
        )


class Appender:
    """Records events in groups, while `run_forever` runs."""

    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata
        self._waiting: deque[Append] = deque()
        self._under_way: list[Append] = []
        self._idle = trio.lowlevel.ParkingLot()
        self._expected = 0
        self._stopped = False

    def add(self, event: Append) -> None:
        """Record it after all that were added before, unless that is refused."""
        if self._stopped:
            event.fail(Unavailable("the event log is stopped"))
            return
        self._waiting.append(event)
        if self._idle:
            self._idle.unpark()

    async def run_forever(self) -> None:
        try:
            while True:
                if not self._waiting:
                    await self._idle.park()
                await self._gather()
                taken = self._take()
                await self._record(taken)
                self._expected = len(taken) + len(self._waiting)
        finally:
            self._stopped = True
            for event in self._under_way:
                event.fail(
                    Unavailable(
                        "the event log was stopped; whether this event was recorded "
                        "shows in the log"
                    )
                )
            for event in self._waiting:
                event.fail(Unavailable("the event log is stopped"))

    async def _gather(self) -> None:
        """Let come who is about to. Not by sleeping: that would take a millisecond."""
        deadline = time.perf_counter() + GATHER
        while len(self._waiting) < self._expected and time.perf_counter() < deadline:
            await trio.lowlevel.checkpoint()

    def _take(self) -> list[Append]:
        waiting = self._waiting
        taken: list[Append] = []
        size = 0
        while waiting and len(taken) < MOST_EVENTS and size < MOST_BYTES:
            event = waiting.popleft()
            taken.append(event)
            size += event.size
        self._under_way = taken
        return taken

    async def _record(self, events: list[Append]) -> None:
        """Record them in order and settle each."""
        culprit: Append | None = None

        def append(txn: Transaction) -> list[int]:
            nonlocal culprit
            culprit = None
            numbers: list[int] = []
            for event in events:
                culprit = event
                numbers.append(event.run(txn))
            culprit = None
            return numbers

        try:
            numbers = await self._metadata.update(append)
        except ResourceExhausted as error:
            # Nothing of it happened. One alone may still find room.
            if len(events) == 1:
                events[0].fail(error)
                return
            for event in events:
                await self._record([event])
        except Exception as error:  # noqa: BLE001 -- the publishers' to handle
            if culprit is None:
                for event in events:
                    event.fail(_copy(error))
                return
            # Its function raised, so nothing of it happened; the others go without.
            culprit.fail(error)
            left = [event for event in events if event is not culprit]
            if left:
                await self._record(left)
        else:
            for event, number in zip(events, numbers, strict=True):
                event.succeed(number)


def _copy(error: Exception) -> Exception:
    """One for each who gets it: an exception collects the frames that it passes."""
    if isinstance(error, PluggdError):
        return type(error)(error.message)
    return error
