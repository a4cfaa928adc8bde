# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The policy with time around it: one task that sleeps, collects and answers.

Changes of the store reach the policy through a plain callback, at the price of a
comparison; nothing is queued and no task is started for them. What a collection
removes is the metadata store's business, when it runs is the policy's; this
module knows neither.
"""

from __future__ import annotations

import logging
import math
import time
from typing import Protocol

import trio

from pluggd.collecting.totals import Totals
from pluggd.collecting.waiting import Waiting
from pluggd.errors import PluggdError, Unavailable
from pluggd.services.gc import GcStatus
from pluggd.services.metadata import CollectStats

from .policy import Policy, Settings

NS = 1_000_000_000
STOPPED = "the collection scheduler has stopped"


class Collector(Protocol):
    """What is needed of the metadata store here."""

    async def collect(self, *, full: bool = False) -> CollectStats: ...

    def next_expiry(self) -> int | None: ...


class Scheduler:
    """Runs collections when `settings` say so, as long as `run_forever` does.

    full_interval: seconds after which a collection marks everything; 0 for never.
    """

    def __init__(
        self,
        collector: Collector,
        settings: Settings,
        *,
        log: logging.LoggerAdapter[logging.Logger],
        full_interval: float = 0.0,
    ) -> None:
        now = trio.current_time()
        self.policy = Policy(settings, now)
        self._collector = collector
        self._log = log
        self._full_interval = full_interval
        self._full_at = now
        self._full_asked = False
        self._waiting = Waiting()
        self._wake = trio.Event()
        # What the task sleeps for: a commit that changes neither leaves it asleep.
        self._sleeps_until: float | None = None
        self._next_expiry: int | None = None
        self._running = False
        self._stopped = False
        self._collections = 0
        self._failures = 0
        self._last_at = 0
        self._last_error = ""
        self._last: CollectStats | None = None
        self.totals = Totals()

    def changed(self, dirty: bool) -> None:
        """Take note of a commit; the callback for `Metadata.on_change`."""
        policy = self.policy
        policy.mutated(trio.current_time(), dirty=dirty)
        if (
            policy.wake_at != self._sleeps_until
            or self._collector.next_expiry() != self._next_expiry
        ):
            self._wake.set()

    def reload(self, settings: Settings, full_interval: float) -> None:
        """Other settings, from now on; a tick that is set already keeps its time."""
        self._full_interval = full_interval
        self.policy.reload(settings, trio.current_time())
        self._wake.set()

    def request(self, *, full: bool = False) -> None:
        """Ask for a collection without waiting for it."""
        self._require_running()
        self._full_asked = self._full_asked or full
        self.policy.requested(trio.current_time())
        self._wake.set()

    async def collect(self, *, full: bool = False) -> CollectStats:
        """Ask for a collection and wait for one that began after this call.

        Raises Unavailable when it failed.
        """
        self.request(full=full)
        return await self._waiting.wait()

    @property
    def waiting(self) -> int:
        """How many callers wait for a collection that has not begun."""
        return len(self._waiting)

    def status(self) -> GcStatus:
        policy = self.policy
        wake_at = policy.wake_at
        next_at = 0
        if wake_at is not None and not self._running:
            ahead = max(wake_at - trio.current_time(), 0.0)
            next_at = time.time_ns() + int(ahead * NS)
        return GcStatus(
            policy="scheduler",
            running=self._running,
            collections=self._collections,
            failures=self._failures,
            last_at=self._last_at,
            next_at=next_at,
            deletions=policy.deletions,
            mutations=policy.mutations,
            mean_pause=int(policy.mean_pause * NS),
            last_error=self._last_error,
            reason="a collection is running" if self._running else policy.reason,
            last=self._last,
        )

    async def run_forever(self) -> None:
        """Collect whenever the policy says so, until cancelled."""
        try:
            while True:
                self._wake = trio.Event()
                self._look_at_expiry()
                if self.policy.due(trio.current_time()):
                    await self._collect()
                    continue
                wake_at = self._sleeps_until = self.policy.wake_at
                with trio.move_on_at(math.inf if wake_at is None else wake_at):
                    await self._wake.wait()
        finally:
            self._stopped = True
            self._waiting.refuse(STOPPED)

    def _look_at_expiry(self) -> None:
        """Tell the policy what expires next, on its own clock."""
        at = self._next_expiry = self._collector.next_expiry()
        if at is None:
            self.policy.expires(None)
        else:
            ahead = (at - time.time_ns()) / NS
            self.policy.expires(trio.current_time() + ahead)

    async def _collect(self) -> None:
        served = self._waiting.take()
        full = self._full_asked or self._full_is_due()
        self._full_asked = False
        self._running = True
        self.policy.begin()
        reason = ""
        try:
            stats = await self._collector.collect(full=full)
        except Exception as error:  # noqa: BLE001 (bugs of a provider, too; logged)
            # Whatever it was, the next attempt may succeed, and callers wait.
            reason = str(error) or type(error).__name__
            self._failures += 1
            self.totals.failed += 1
            self._last_error = reason
            self._full_asked = self._full_asked or full
            self.policy.failed(trio.current_time())
            if isinstance(error, PluggdError):
                self._log.error("collection failed: %s", reason)
            else:
                self._log.exception("collection failed: %s", reason)
            served.refuse(f"garbage collection failed: {reason}")
        else:
            self._collections += 1
            self.totals.add(stats)
            self._last = stats
            self._last_error = ""
            if full:
                self._full_at = trio.current_time()
            self.policy.succeeded(trio.current_time(), stats.pause / NS)
            if stats.removed:
                self._log.info(
                    "collected %s in %.1f ms",
                    ", ".join(f"{n} {t}" for t, n in sorted(stats.removed.items())),
                    stats.elapsed / 1e6,
                )
            served.answer(stats)
        finally:
            self._running = False
            self._last_at = time.time_ns()
            # Cancelled: those whom the collection would have served get an answer, too.
            served.refuse(STOPPED)

    def _full_is_due(self) -> bool:
        if self._full_interval <= 0:
            return False
        return trio.current_time() - self._full_at >= self._full_interval

    def _require_running(self) -> None:
        if self._stopped:
            raise Unavailable(f"{STOPPED}: unavailable")
