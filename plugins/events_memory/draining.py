# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Keeps the log of the metadata store empty: stores write into it with each change, and
with this provider nobody reads it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import trio

from pluggd.errors import PluggdError
from pluggd.services.metadata import Metadata, Transaction

ENOUGH = 1000
"""Events after which the log is emptied."""

STEP = 2000
"""Events removed by one transaction: some milliseconds of the writer's time."""

PERIOD = 60.0


class Drain:
    """Removes what was told, while `run_forever` runs."""

    def __init__(
        self, metadata: Metadata, log: logging.LoggerAdapter[logging.Logger]
    ) -> None:
        self._metadata = metadata
        self._log = log
        self._new = 0
        self._enough = trio.Event()

    def stored(self, batch: Sequence[tuple[int, bytes]]) -> None:
        """The callback for `Metadata.on_commit`, after whoever reads the events."""
        self._new += len(batch)
        if self._new >= ENOUGH:
            self._enough.set()

    async def run_forever(self) -> None:
        while True:
            self._new = 0
            self._enough = trio.Event()
            try:
                await self.drain()
            except PluggdError as error:
                self._log.warning("event log not emptied, trying again: %s", error)
            with trio.move_on_after(PERIOD):
                await self._enough.wait()

    async def drain(self) -> int:
        """Remove all that is in the log now; how many events."""
        first, last = self._metadata.read(lambda view: view.event_bounds())
        removed = 0
        while first <= last:
            first = min(first + STEP, last + 1)
            removed += await self._metadata.update(
                _trim_to(first), reclaim=True, long=True
            )
        return removed


def _trim_to(before: int) -> Callable[[Transaction], int]:
    return lambda txn: txn.trim_events(before)
