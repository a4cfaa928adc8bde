# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How late the trio loop and the threads are: asked now and then, by waiting oneself.

A loop that is late makes every answer late, whatever each call counts for itself. The
watchdog says who blocks it; this says how often and how long it was.
"""

from __future__ import annotations

import time

import trio

from pluggd.model.figures import Figure, Histogram, gauge, histogram

EVERY = 1.0
"""Seconds between two looks at the loop: one wake-up of an idle daemon."""

THREAD_EVERY = 10
"""Looks at the loop for each one at the threads."""


class Probe:
    """Measures while `run` does."""

    def __init__(self) -> None:
        self.loop_lag = Histogram()
        self.thread_lag = Histogram()
        self._last = 0.0
        self._limiter: trio.CapacityLimiter | None = None

    async def run(self) -> None:
        """Measure until cancelled."""
        self._limiter = trio.to_thread.current_default_thread_limiter()
        async with trio.open_nursery() as nursery:
            looks = 0
            asked = _Asked()
            while True:
                due = trio.current_time() + EVERY
                await trio.sleep_until(due)
                self._last = max(trio.current_time() - due, 0.0)
                self.loop_lag.observe(self._last)
                looks += 1
                # One at a time: when threads are stuck, asking more of them is no help.
                if looks % THREAD_EVERY == 1 and not asked.waiting:
                    nursery.start_soon(self._ask_thread, asked)

    async def _ask_thread(self, asked: _Asked) -> None:
        asked.waiting = True
        begun = time.perf_counter()
        try:
            ran = await trio.to_thread.run_sync(
                time.perf_counter, abandon_on_cancel=True
            )
            self.thread_lag.observe(ran - begun)
        finally:
            asked.waiting = False

    def figures(self) -> list[Figure]:
        found = [
            histogram(
                "loop_lag_seconds",
                "How late the event loop ran what was due, asked every second.",
                self.loop_lag,
            ),
            histogram(
                "thread_lag_seconds",
                "How long work waited for a thread, asked every ten seconds.",
                self.thread_lag,
            ),
        ]
        if self._limiter is not None:
            threads = self._limiter.statistics()
            found += [
                gauge(
                    "threads_busy",
                    "Threads that work for a task.",
                    threads.borrowed_tokens,
                ),
                gauge(
                    "threads_waiting",
                    "Tasks that wait for one of the threads to be free.",
                    threads.tasks_waiting,
                ),
                gauge(
                    "threads_limit",
                    "Threads that may work at a time.",
                    threads.total_tokens,
                ),
            ]
        return found


class _Asked:
    """Whether a thread was asked and has not answered."""

    waiting = False
