# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The thread that begins and ends every write transaction.

A transaction of LMDB belongs to the thread that began it: one committed from another
reports success and hangs the next writer for ever; and a commit of any engine waits for
the disk. This thread sleeps until it has the
turn, does one piece of work, begins the next transaction, and gives the turn back. A
transaction that nobody uses for a moment is given up: open, it would keep other
programs that copy the database waiting.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import trio

from pluggd.metastore.batch import Batch, Opened
from pluggd.metastore.group import Group
from pluggd.metastore.jobs import Job

C = TypeVar("C")

KEEP = 0.02
"""Seconds that a transaction stays open for the next update to come."""


class Worker(Generic[C]):
    """The thread, and what is handed to it.

    done: called in the trio thread when it gives the turn back, with the changes that
    are durable. ended: called there at the end, with what made it crash, if anything.
    awaited: whether an update waits for the turn; called in the thread.
    """

    def __init__(
        self,
        group: Group[C],
        token: trio.lowlevel.TrioToken,
        done: Callable[[Sequence[C]], None],
        ended: Callable[[BaseException | None], None],
        awaited: Callable[[], bool],
    ) -> None:
        self._group = group
        self._token = token
        self._done = done
        self._ended = ended
        self._awaited = awaited
        self._turn = threading.Lock()
        self._turn.acquire()
        self._work: Callable[[], Sequence[C]] = tuple
        self._given = 0
        # Whether somebody waits for one update alone, and nobody will use what follows.
        self._lone = False
        # At most one; taken by `pop`, which is atomic, for both threads may want it.
        self._opened: list[Opened] = []
        self._stopping = False
        # A daemon thread: a disk that never answers must not keep the process alive.
        threading.Thread(
            target=self._main, name="pluggd metadata writer", daemon=True
        ).start()

    # --- for who has the turn

    def take_opened(self) -> Opened | None:
        """The open transaction, if there is one; it is the caller's until it is used."""
        try:
            return self._opened.pop()
        except IndexError:
            return None

    def give_back(self, opened: Opened) -> None:
        """It was not used."""
        self._opened.append(opened)

    def give(self, work: Callable[..., Sequence[C]], *arguments: Any) -> None:
        """Give the turn, with one of the methods below and its arguments."""
        self._work = lambda: work(*arguments)
        self._given = time.monotonic_ns()
        self._turn.release()

    # --- the work, in the thread

    def open(self) -> Sequence[C]:
        """Nothing but what follows every work: the next transaction."""
        return ()

    def commit(self, batch: Batch[C]) -> Sequence[C]:
        """Commit what a batch did."""
        self._lone = len(batch.jobs) == 1
        return self._group.commit(batch)

    def run(self, jobs: deque[Job[C, Any]], opened: Opened) -> Sequence[C]:
        """Run functions here and commit them."""
        return self._group.run(jobs, opened)

    def stop(self) -> Sequence[C]:
        """End."""
        self._stopping = True
        return ()

    # --- the thread itself

    def _main(self) -> None:
        failure: BaseException | None = None
        try:
            self._serve()
        except BaseException as error:  # noqa: BLE001
            failure = error
        finally:
            self._give_up()
        self._call(self._ended, failure)

    def _serve(self) -> None:
        group, turn = self._group, self._turn
        open_ = False
        while True:
            if not turn.acquire(timeout=KEEP if open_ else -1):
                open_ = not self._give_up()
                continue
            group.figures.handed_over(time.monotonic_ns() - self._given)
            changes = self._work()
            if self._stopping:
                return
            lone = self._lone and not self._awaited()
            self._lone = False
            if lone and not self._call(self._done, changes):
                return
            if not self._opened:
                self._opened.append(group.open())
            open_ = True
            if not lone and not self._call(self._done, changes):
                return

    def _give_up(self) -> bool:
        """End the open transaction; False when the other thread has just taken it."""
        opened = self.take_opened()
        if opened is None:
            return False
        opened.txn.abort()
        return True

    def _call(self, function: Callable[..., None], *arguments: object) -> bool:
        try:
            self._token.run_sync_soon(function, *arguments)
        except trio.RunFinishedError:
            # Nobody is left to be told.
            return False
        return True
