# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Group commit: many updates, one durable commit, each with its own fate.

Runs in the writer's thread and knows no trio. It commits what a batch has done in the
trio thread, and runs itself what must not run there: updates that take long, tables
that are made, and all of them when the room is nearly used up. Of those each runs in a
child transaction of one parent; an update that raises loses its child only.

A commit that fails for want of room is undone by the engine as a whole: the updates that free
space are then run anew, in transactions of their own, into the reserve; the others are
refused. A commit that fails for any other reason is never tried again: what the disk
then holds is unknown until the file is opened anew, so the thread, and with it
the plugin, fails.
"""

from __future__ import annotations

import logging
import os
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from pluggd.errors import ResourceExhausted
from pluggd.metastore.batch import MAX_BATCH, Batch, Opened
from pluggd.metastore.counters import Counters
from pluggd.metastore.engine import Engine, Tables, Txn
from pluggd.metastore.jobs import Job
from pluggd.objects.kv import KV

C = TypeVar("C")

MAX_TIME = 10_000_000
"""Ns of functions in one commit of the thread. More gains nothing and delays."""

SLOW = 1_000_000_000
"""A function that runs longer (ns) is named in the log: everybody waits for it."""

MARGIN = 4 << 20
"""Bytes below the limit from where the space in use is counted after each update."""


class Group(ABC, Generic[C]):
    """Commits jobs to one engine. Each engine has its own, which knows about room.

    begin: makes what a function gets from the tables of its transaction.
    limit: bytes that may be in use, 0 for no bound.
    """

    def __init__(
        self,
        engine: Engine,
        begin: Callable[[KV], C],
        log: logging.LoggerAdapter[logging.Logger],
        *,
        limit: int = 0,
    ) -> None:
        self._engine = engine
        self._begin = begin
        self._log = log
        self._limit = limit
        self.figures = Counters()

    # --- what each engine has of its own

    @abstractmethod
    def _disk_full(self, txn: Txn) -> bool:
        """Whether only updates that free space may run; keeps room back for them."""

    def _size(self, txn: Txn) -> int:
        """Bytes that are or were in use; at least `_used`, and cheap."""
        del txn
        return self._engine.size()

    @abstractmethod
    def _used(self, txn: Txn) -> int:
        """Bytes in use, the changes of this transaction included."""

    @abstractmethod
    def _give_back(self) -> None:
        """A commit failed for want of room: give back what it took."""

    # --- one commit after the other

    def open(self) -> Opened:
        """Begin a transaction, and see how much room there is. Raises the engine's errors."""
        return self._opened(self._engine.begin_write())

    def _opened(self, txn: Txn) -> Opened:
        try:
            disk_full, counting = self._room(txn)
        except BaseException:
            txn.abort()
            raise
        return Opened(txn, disk_full, counting)

    def batch(self, opened: Opened) -> Batch[C]:
        """For the trio thread, to run functions in this transaction."""
        return Batch(opened, self._engine, self._begin, self._log)

    def commit(self, batch: Batch[C]) -> Sequence[C]:
        """Commit what the batch did; the durable changes. Its jobs are settled then.

        Raises the engine's error when that cannot be trusted any more.
        """
        parent = batch.opened.txn
        try:
            if batch.failure is not None:
                raise batch.failure
            if not batch.again:
                self._commit(parent, len(batch.done))
                return self._changes(batch.done)
        except self._engine.errors as error:
            if not self._engine.is_full(error):
                raise
            return self._after_full(batch.jobs, error)
        finally:
            # After a commit, also one that failed, this does nothing.
            parent.abort()
        changes: list[C] = []
        for job in batch.jobs:
            if job.error is None:
                changes += self.run(deque([job]))
        return changes

    def run(self, jobs: deque[Job[C, Any]], opened: Opened | None = None) -> list[C]:
        """Run these jobs here, and commit them; the durable changes.

        opened: a transaction for the first of them. Raises as `commit`.
        """
        if opened is not None and opened.disk_full:
            # It may have waited for us, and the disk has more room now.
            opened = self._opened(opened.txn)
        changes: list[C] = []
        while jobs:
            batch: list[Job[C, Any]] = []
            try:
                changes += self._attempt(opened or self.open(), jobs, batch)
            except self._engine.errors as error:
                if not self._engine.is_full(error):
                    raise
                changes += self._after_full(batch, error)
            opened = None
        return changes

    def _attempt(
        self, opened: Opened, waiting: deque[Job[C, Any]], batch: list[Job[C, Any]]
    ) -> list[C]:
        """Move jobs from `waiting` to `batch`, run them, and commit them."""
        engine = self._engine
        parent = opened.txn
        try:
            flat = len(waiting) == 1 or bool(waiting[0].table)
            done: list[Job[C, Any]] = []
            started = now = time.monotonic_ns()
            while waiting and len(batch) < MAX_BATCH and now - started < MAX_TIME:
                if batch and (flat or waiting[0].table):
                    break
                job = waiting.popleft()
                batch.append(job)
                if job.abandoned:
                    continue
                if opened.disk_full and not job.reclaim:
                    job.refuse(self._no_room())
                    continue
                self.figures.ran_in_thread += 1
                txn = parent if flat else engine.begin_write(parent)
                if self._run(job, txn, opened.counting):
                    done.append(job)
                    if not flat:
                        txn.commit()
                else:
                    txn.abort()
                now, before = time.monotonic_ns(), now
                if now - before > SLOW:
                    self._log.warning(
                        "update %s took %.1f s; every other update waited for it",
                        job.name,
                        (now - before) / 1e9,
                    )
            if done:
                self._commit(parent, len(done))
        finally:
            # After a commit, also one that failed, this does nothing.
            parent.abort()
        return self._changes(done)

    def _changes(self, done: Sequence[Job[C, Any]]) -> list[C]:
        """Note that these have happened; their changes."""
        changes: list[C] = []
        for job in done:
            job.committed = True
            if job.database is not None:
                self._engine.add_table(job.table, job.database)
            elif job.change is not None:
                changes.append(job.change)
        return changes

    def _run(self, job: Job[C, Any], txn: Txn, counting: bool) -> bool:
        """Run one job in its transaction; whether it is to be committed.

        Raises the engine's error for what is not this job's own fault.
        """
        engine = self._engine
        tables: Tables = engine.writer(txn)
        try:
            if job.table:
                job.database = engine.create_table(job.table, txn)
            job.run(self._begin(tables))
            if counting and not job.reclaim:
                self._check_limit(txn)
        except engine.own_fault as error:
            job.refuse(error)
            return False
        except engine.too_much:
            job.refuse(
                ResourceExhausted(
                    f"update {job.name} changes too much at once: split it"
                )
            )
            return False
        except engine.errors:
            raise
        except BaseException as error:  # noqa: BLE001 - it is the caller's to handle
            job.refuse(error)
            return False
        return True

    def _commit(self, parent: Txn, size: int) -> None:
        started = time.perf_counter_ns()
        parent.commit()
        self.figures.committed(size, time.perf_counter_ns() - started)

    # --- when there is no room

    def _room(self, txn: Txn) -> tuple[bool, bool]:
        """Whether the disk is known to be full; whether the limit is near."""
        near = self._limit > 0 and self._size(txn) + MARGIN > self._limit
        return self._disk_full(txn), near

    def _check_limit(self, txn: Txn) -> None:
        used = self._used(txn)
        if used > self._limit:
            raise ResourceExhausted(
                f"metadata quota is full: {used} bytes would be in use, "
                f"{self._limit} are allowed: delete something or raise quota_bytes"
            )

    def _no_room(self) -> ResourceExhausted:
        path = self._engine.path
        disk = os.statvfs(path)
        return ResourceExhausted(
            f"no space left for metadata in {path} "
            f"({disk.f_bavail * disk.f_frsize} of {disk.f_blocks * disk.f_frsize} bytes "
            "are free): make room on the disk or delete something"
        )

    def _after_full(self, batch: Sequence[Job[C, Any]], error: Exception) -> list[C]:
        """Refuse what needs room, and run again what makes some."""
        self._give_back()
        self._log.warning("no space left for metadata: %s", error)
        again: deque[Job[C, Any]] = deque()
        for job in batch:
            if job.error is None and job.reclaim and not job.abandoned:
                again.append(job)
            else:
                job.refuse(self._no_room())
        done: list[C] = []
        # One by one: each leaves free pages inside the file for the next but one.
        while again:
            job = again.popleft()
            try:
                done += self._attempt(self.open(), deque([job]), [])
            except self._engine.errors as second:
                if not self._engine.is_full(second):
                    raise
                job.refuse(self._no_room())
        return done
