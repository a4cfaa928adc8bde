# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The policy with time and a disk around it: one task that looks, collects and answers."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import Protocol

import trio

from pluggd.collecting.totals import Totals
from pluggd.collecting.waiting import Waiting
from pluggd.errors import PluggdError, Unavailable
from pluggd.services.gc import GcStatus
from pluggd.services.metadata import CollectStats

from .policy import Job, Policy, Settings

NS = 1_000_000_000
STOPPED = "the collection by free space has stopped"

Space = Callable[[], tuple[int, int]]
"""Bytes that are free, and all of them."""


class Collector(Protocol):
    """What is needed of the metadata store here."""

    async def collect(
        self, *, full: bool = False, limit: int = 0, keep_for: float = 0
    ) -> CollectStats: ...


class Watcher:
    """Collects when `settings` say so, as long as `run_forever` does."""

    def __init__(
        self,
        collector: Collector,
        settings: Settings,
        space: Space,
        log: logging.LoggerAdapter[logging.Logger],
    ) -> None:
        self.policy = Policy(settings, trio.current_time())
        self.totals = Totals()
        self._collector = collector
        self._space = space
        self._log = log
        self._waiting = Waiting()
        self._full = False
        self._wake = trio.Event()
        self._running = ""
        self._stopped = False
        self._runs = self._failures = self._last_at = 0
        self._last: CollectStats | None = None
        self._last_error = ""

    def changed(self, dirty: bool) -> None:
        """The callback for `Metadata.on_change`; the next look does the rest."""
        self.policy.changed(dirty=dirty)

    def reload(self, settings: Settings) -> None:
        """Other settings, from now on."""
        self.policy.reload(settings)
        self._wake.set()

    def request(self, *, full: bool = False) -> None:
        """Ask for a whole collection without waiting. Raises Unavailable."""
        if self._stopped:
            raise Unavailable(f"{STOPPED}: unavailable")
        self._full = self._full or full
        self.policy.requested()
        self._wake.set()

    async def collect(self, *, full: bool = False) -> CollectStats:
        """Ask for a whole collection and wait for one that began after this call.

        Raises Unavailable when it failed.
        """
        self.request(full=full)
        return await self._waiting.wait()

    def status(self) -> GcStatus:
        policy = self.policy
        ahead = max(policy.wake_at - trio.current_time(), 0.0)
        return GcStatus(
            policy="watermark",
            running=bool(self._running),
            collections=self._runs,
            failures=self._failures,
            last_at=self._last_at,
            next_at=0 if self._running else time.time_ns() + int(ahead * NS),
            deletions=policy.deletions,
            mutations=policy.changes,
            last_error=self._last_error,
            reason=self._running or policy.reason,
            last=self._last,
        )

    async def run_forever(self) -> None:
        """Look and collect whenever the policy says so, until cancelled."""
        try:
            while True:
                self._wake = trio.Event()
                self.policy.measured(trio.current_time(), *self._space())
                job = self.policy.job(trio.current_time())
                if job is not None:
                    await self._do(job)
                    continue
                with trio.move_on_at(self.policy.wake_at):
                    await self._wake.wait()
        finally:
            self._stopped = True
            self._waiting.refuse(STOPPED)

    async def _do(self, job: Job) -> None:
        served = Waiting()
        full = False
        if job.whole:
            served = self._waiting.take()
            full, self._full = self._full, False
        counted = self.policy.changes, self.policy.deletions
        self.policy.begin(job)
        self._running = f"a collection is running: {job.why}"
        try:
            stats = await self._collector.collect(
                full=full, limit=job.limit, keep_for=job.keep_for
            )
        except Exception as error:  # noqa: BLE001 (bugs of a provider, too; logged)
            # Whatever it was, the next attempt may succeed, and callers wait.
            reason = str(error) or type(error).__name__
            self._failures += 1
            self.totals.failed += 1
            self._last_error = reason
            self._full = self._full or full
            self.policy.failed(trio.current_time(), job, counted)
            expected = isinstance(error, PluggdError)
            self._log.error("collection failed: %s", reason, exc_info=not expected)
            served.refuse(f"garbage collection failed: {reason}")
        else:
            self._runs += 1
            self.totals.add(stats)
            self._last, self._last_error = stats, ""
            self.policy.done(trio.current_time(), job, more=stats.more)
            if stats.removed:
                gone = ", ".join(f"{n} {t}" for t, n in sorted(stats.removed.items()))
                self._log.info("collected %s: %s", gone, job.why)
            served.answer(stats)
        finally:
            self._running = ""
            self._last_at = time.time_ns()
            # Cancelled: those whom the collection would have served get an answer, too.
            served.refuse(STOPPED)


def space_of(path: str) -> tuple[int, int]:
    """Of the file system of a path: what is free for this user, and all of it."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
