# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Durable updates, as the trio thread sees them: who runs when, and who hears of it.

A write transaction is begun and ended by one thread, `worker.py`. In between the
functions of all updates that wait run here, in the trio thread. One of the two has the
turn: while the worker has it, updates gather; when it gives it back, with the outcome and
the next transaction, everybody is answered in one wake-up, and what has gathered runs.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import trio

from pluggd.deferred import settling
from pluggd.errors import Internal, PluggdError, Unavailable
from pluggd.metastore.batch import MAX_BATCH, Batch
from pluggd.metastore.group import Group
from pluggd.metastore.jobs import Job
from pluggd.metastore.worker import Worker

T = TypeVar("T")
C = TypeVar("C")

STOP_GRACE = 2.0
"""Seconds that a cancelled `aclose` waits for the commit that is under way."""


class Writer(Generic[C]):
    """Runs functions on changes C, one after the other, durably.

    deliver: called in the trio thread after each commit, with the changes that it
    made durable, in order, before a task that waits for one of them goes on.
    """

    def __init__(
        self,
        group: Group[C],
        deliver: Callable[[Sequence[C]], None],
        log: logging.LoggerAdapter[logging.Logger],
    ) -> None:
        self._group = group
        self._deliver_changes = deliver
        self._log = log
        self._token = trio.lowlevel.current_trio_token()
        self._waiting: deque[Job[C, Any]] = deque()
        self._batch: Batch[C] | None = None
        # What the worker has, while it has the turn.
        self._given: Sequence[Job[C, Any]] | None = None
        self._outstanding = 0
        # Whether the group before had several updates; then this one will have, too.
        self._crowded = False
        self._closing = False
        self._hurry = False
        self._failure: BaseException | None = None
        self._ended = trio.Event()
        self._worker = Worker(
            group,
            self._token,
            self._taken_back,
            self._end,
            # Of a deque that changes meanwhile this is still true or false.
            lambda: bool(self._waiting),
        )

    def pending(self) -> bool:
        """Whether the thread has work that somebody may be waiting for."""
        return self._given is not None

    @property
    def outstanding(self) -> int:
        """Updates that are not answered yet."""
        return self._outstanding

    async def submit(self, job: Job[C, T]) -> T:
        """Wait for the job's function to have run and its change to be durable.

        Raises what the function raised, ResourceExhausted when there is no room,
        Unavailable after a stop, Internal after a crash of the thread.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        self.start(job)
        return await job.wait()

    def start(self, job: Job[C, Any]) -> None:
        """As `submit`, without waiting: the job itself tells the outcome."""
        if self._failure is not None:
            raise _crashed(self._failure)
        if self._closing:
            raise _stopped()
        job.submitted = time.monotonic_ns()
        self._outstanding += 1
        self._waiting.append(job)
        if self._given is None:
            self._proceed()

    async def watch(self) -> None:
        """Return when the thread was stopped; raise what made it crash."""
        await self._ended.wait()
        if self._failure is not None:
            raise _crashed(self._failure)

    async def aclose(self) -> bool:
        """Refuse what comes, finish what waits, end the thread.

        When cancelled, only the commit under way is waited for, and that not for long.
        Returns whether the thread has ended.
        """
        if not self._closing:
            self._closing = True
            if self._given is None:
                self._flush()
        try:
            await self._ended.wait()
        finally:
            if not self._ended.is_set():
                self._hurry = True
                with trio.move_on_after(STOP_GRACE, shield=True):
                    await self._ended.wait()
        return True

    @property
    def ended(self) -> bool:
        return self._ended.is_set()

    # --- with the turn

    @trio.lowlevel.enable_ki_protection
    def _proceed(self) -> None:
        """Run what waits, as far as it may run here, and see to its commit."""
        self._run_waiting()
        batch = self._batch
        if self._given is not None or batch is None:
            return
        if self._waiting or batch.full or not self._crowded:
            self._flush()
        else:
            # Others are about to submit, in this very tick.
            self._token.run_sync_soon(self._flush_gathered, idempotent=True)

    def _run_waiting(self) -> None:
        waiting, batch = self._waiting, self._batch
        while waiting:
            job = waiting[0]
            if job.abandoned:
                self._settle([waiting.popleft()])
                continue
            if batch is None:
                opened = self._worker.take_opened()
                if opened is None:
                    self._give((), self._worker.open)
                    return
                if opened.careful or job.long or job.table:
                    jobs = self._for_worker(opened.careful)
                    self._give(jobs, self._worker.run, deque(jobs), opened)
                    return
                batch = self._batch = self._group.batch(opened)
            elif batch.full or job.long or job.table:
                return
            self._group.figures.waited(batch.run(waiting.popleft()))

    def _for_worker(self, careful: bool) -> list[Job[C, Any]]:
        """Take what waits and is to run in the other thread."""
        waiting = self._waiting
        jobs = [waiting.popleft()]
        while (
            careful
            and waiting
            and len(jobs) < MAX_BATCH
            and not (jobs[0].table or waiting[0].table)
        ):
            jobs.append(waiting.popleft())
        return jobs

    def _flush_gathered(self) -> None:
        if self._given is None and self._batch is not None:
            self._flush()

    def _flush(self) -> None:
        """Have committed what has run, if anything; then end, if that is wanted."""
        batch, self._batch = self._batch, None
        if batch is not None:
            if batch.idle:
                # Nobody saw anything that is not durable.
                self._worker.give_back(batch.opened)
                for job in batch.done:
                    job.committed = True
                self._answer(
                    batch.jobs,
                    [job.change for job in batch.done if job.change is not None],
                )
            else:
                batch.apply()
                self._crowded = self._outstanding > 1
                self._give(batch.jobs, self._worker.commit, batch)
                return
        if self._closing and not self._waiting:
            self._give((), self._worker.stop)
        elif self._waiting:
            self._proceed()

    def _give(
        self,
        jobs: Sequence[Job[C, Any]],
        work: Callable[..., Sequence[C]],
        *arguments: object,
    ) -> None:
        self._given = jobs
        self._worker.give(work, *arguments)

    # --- from the worker

    @trio.lowlevel.enable_ki_protection
    def _taken_back(self, changes: Sequence[C]) -> None:
        """The worker gives the turn back: what it had is durable or has failed."""
        jobs, self._given = self._given or (), None
        self._answer(jobs, changes)
        if self._hurry:
            self._refuse_waiting()
        self._run_waiting()
        if self._given is None:
            self._flush()

    def _answer(self, jobs: Sequence[Job[C, Any]], changes: Sequence[C]) -> None:
        # First who waits for them: there may be a thousand subscribers.
        self._settle(jobs)
        if changes:
            try:
                self._deliver_changes(changes)
            except Exception:  # noqa: BLE001
                # One that fails must not end the writer.
                self._log.exception("a listener of commits failed")

    def _settle(self, jobs: Sequence[Job[C, Any]]) -> None:
        self._outstanding -= len(jobs)
        with settling():
            for job in jobs:
                job.settle()

    def _refuse_waiting(self) -> None:
        answer = _stopped() if self._failure is None else _crashed(self._failure)
        jobs = list(self._waiting)
        self._waiting.clear()
        for job in jobs:
            job.refuse(answer)
        self._settle(jobs)

    def _end(self, failure: BaseException | None) -> None:
        """The thread has ended."""
        self._failure = failure
        self._closing = True
        self._ended.set()
        batch, self._batch = self._batch, None
        jobs = [*(self._given or ()), *(batch.jobs if batch is not None else ())]
        self._given = None
        for job in jobs:
            job.refuse(_crashed(failure) if failure is not None else _stopped())
        self._settle(jobs)
        self._refuse_waiting()


def _stopped() -> Unavailable:
    return Unavailable("the metadata store is stopped")


def _crashed(error: BaseException) -> PluggdError:
    failure = Internal(
        f"the metadata writer failed ({error!r}): nothing is written any more; "
        "whether changes that wait now happened shows after a restart of the daemon"
    )
    failure.__cause__ = error
    return failure
