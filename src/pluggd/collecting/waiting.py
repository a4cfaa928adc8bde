# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Who waits for a collection: each is served by one that began after the call.

A policy takes those that wait when it begins a collection; who comes later waits for the
next one. Everybody gets an answer, also when a collection fails or the policy stops.
"""

from __future__ import annotations

import trio

from pluggd.errors import Unavailable
from pluggd.services.metadata import CollectStats


class _Waiter:
    def __init__(self) -> None:
        self.done = trio.Event()
        self.stats: CollectStats | None = None
        self.error = ""


class Waiting:
    """Callers that wait for the same collection."""

    def __init__(self) -> None:
        self._waiters: list[_Waiter] = []

    def __len__(self) -> int:
        return len(self._waiters)

    async def wait(self) -> CollectStats:
        """Wait for the outcome. Raises Unavailable, with the reason, when it failed."""
        waiter = _Waiter()
        self._waiters.append(waiter)
        try:
            await waiter.done.wait()
        finally:
            if waiter in self._waiters:  # cancelled
                self._waiters.remove(waiter)
        if waiter.stats is None:
            raise Unavailable(f"{waiter.error}: unavailable")
        return waiter.stats

    def take(self) -> Waiting:
        """Those that wait now; for a collection that begins now."""
        taken = Waiting()
        taken._waiters, self._waiters = self._waiters, []
        return taken

    def answer(self, stats: CollectStats) -> None:
        self._end(stats, "")

    def refuse(self, reason: str) -> None:
        self._end(None, reason)

    def _end(self, stats: CollectStats | None, error: str) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.stats, waiter.error = stats, error
            waiter.done.set()
