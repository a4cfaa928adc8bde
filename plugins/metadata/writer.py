# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The one thread that writes, as the trio thread sees it.

An LMDB write transaction belongs to the thread that began it: one committed from
another thread reports success and hangs the next writer for ever. So one thread owns
them all. It takes what waits, has it committed as a group, and answers everybody in
one wake-up of the trio thread. How a group is committed is `group.py`'s business.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import trio

from pluggd.errors import Internal, PluggdError, Unavailable
from plugins.metadata.group import Group
from plugins.metadata.jobs import Job

T = TypeVar("T")
C = TypeVar("C")

STOP_GRACE = 2.0
"""Seconds that a cancelled `aclose` waits for the commit that is under way."""


class Writer(Generic[C]):
    """Runs functions on changes C, one after the other, durably.

    deliver: called in the trio thread after each commit, with the changes that it
    made durable, in order, before the functions' callers go on.
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
        self._queue: queue.SimpleQueue[Job[C, Any] | None] = queue.SimpleQueue()
        self._outstanding = 0
        self._closing = False
        self._hurry = False
        self._failure: BaseException | None = None
        self._ended = trio.Event()
        # A daemon thread: a disk that never answers must not keep the process alive.
        self._thread = threading.Thread(
            target=self._main, name="pluggd metadata writer", daemon=True
        )
        self._thread.start()

    # --- in the trio thread

    def pending(self) -> bool:
        """Whether the thread has work that somebody may be waiting for."""
        return self._outstanding > 0

    async def submit(self, job: Job[C, T]) -> T:
        """Wait for the job's function to have run and its change to be durable.

        Raises what the function raised, ResourceExhausted when there is no room,
        Unavailable after a stop, Internal after a crash of the thread.
        """
        if self._failure is not None:
            raise _crashed(self._failure)
        if self._closing:
            raise Unavailable("the metadata store is stopped")
        self._outstanding += 1
        self._queue.put(job)
        return await job.wait()

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
            self._queue.put(None)
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

    def _answer(self, jobs: Sequence[Job[C, Any]], changes: Sequence[C]) -> None:
        self._outstanding -= len(jobs)
        if changes:
            try:
                self._deliver_changes(changes)
            except Exception:  # noqa: BLE001
                # The changes are durable: their authors must hear of it all the same.
                self._log.exception("a listener of commits failed")
        for job in jobs:
            job.wake()

    def _end(self, failure: BaseException | None) -> None:
        self._failure = failure
        self._ended.set()
        # Only this thread puts jobs into the queue, so after this it stays empty.
        self._closing = True
        left: list[Job[C, Any]] = []
        while not self._queue.empty():
            job = self._queue.get_nowait()
            if job is not None:
                job.fail(
                    Unavailable("the metadata store is stopped")
                    if failure is None
                    else _crashed(failure)
                )
                left.append(job)
        self._answer(left, ())

    # --- in the writer thread

    def _main(self) -> None:
        failure: BaseException | None = None
        waiting: deque[Job[C, Any]] = deque()
        try:
            self._work(waiting)
        except BaseException as error:  # noqa: BLE001
            failure = error
        answer = (
            Unavailable("the metadata store is stopped")
            if failure is None
            else _crashed(failure)
        )
        for job in waiting:
            job.fail(answer)
        self._notify(list(waiting), ())
        self._call(self._end, failure)

    def _work(self, waiting: deque[Job[C, Any]]) -> None:
        stopping = False
        while not self._hurry:
            if not waiting:
                if stopping:
                    return
                stopping = self._receive(waiting, self._queue.get())
            while not stopping and not self._queue.empty():
                stopping = self._receive(waiting, self._queue.get_nowait())
            if not waiting:
                continue
            batch: list[Job[C, Any]] = []
            try:
                changes = self._group.commit(waiting, batch)
            except BaseException as error:
                for job in batch:
                    job.fail(_crashed(error))
                self._notify(batch, ())
                raise
            self._notify(batch, changes)

    @staticmethod
    def _receive(waiting: deque[Job[C, Any]], job: Job[C, Any] | None) -> bool:
        if job is None:
            return True
        waiting.append(job)
        return False

    def _notify(self, jobs: Sequence[Job[C, Any]], changes: Sequence[C]) -> None:
        if jobs:
            self._call(self._answer, jobs, changes)

    def _call(self, function: Callable[..., None], *args: object) -> None:
        try:
            self._token.run_sync_soon(function, *args)
        except trio.RunFinishedError:
            # Nobody is left to be told.
            self._hurry = True


def _crashed(error: BaseException) -> PluggdError:
    failure = Internal(
        f"the metadata writer failed ({error!r}): nothing is written any more; "
        "whether changes that wait now happened shows after a restart of the daemon"
    )
    failure.__cause__ = error
    return failure
