# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Updates that run in the trio thread, over one open write transaction.

The transaction was begun by the writer's thread and will be committed by it: engines ask
that of one thread, and of nothing in between. While functions run here that thread
sleeps, so they do not have to share the interpreter with it; while it commits, which
needs no interpreter, the trio thread serves.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from pluggd.metastore.buffer import Buffer
from pluggd.metastore.engine import Engine, Txn
from pluggd.metastore.jobs import Job
from pluggd.objects.kv import KV
from pluggd.struct import Struct

C = TypeVar("C")

MAX_BATCH = 256
MAX_TIME = 2_000_000
MAX_BYTES = 1 << 20
"""Updates, ns of their functions, and bytes of their changes, in one commit of a batch.
The loop serves nobody in this time; and more gains nothing and delays."""

SLOW = 100_000_000
"""A function that runs longer here (ns) is named in the log: nobody is served meanwhile."""


class Opened(Struct):
    """A write transaction that was begun, and how much room there is.

    disk_full: only updates that free space may run. counting: the limit is near, so
    what is in use must be counted after each update. Either needs the writer's thread.
    """

    txn: Txn
    disk_full: bool
    counting: bool

    @property
    def careful(self) -> bool:
        return self.disk_full or self.counting


class Batch(Generic[C]):
    """The jobs of one commit. Trio thread only, until it is given to the writer's.

    done: those whose functions succeeded. again: the changes could not be made in the
    transaction; which job is to blame shows when each has one of its own. failure: the
    engine cannot be trusted any more.
    """

    __slots__ = (
        "_begin",
        "_buffer",
        "_errors",
        "_log",
        "_own_fault",
        "_spent",
        "again",
        "done",
        "failure",
        "jobs",
        "opened",
    )

    def __init__(
        self,
        opened: Opened,
        engine: Engine,
        begin: Callable[[KV], C],
        log: logging.LoggerAdapter[logging.Logger],
    ) -> None:
        self.opened = opened
        self.jobs: list[Job[C, Any]] = []
        self.done: list[Job[C, Any]] = []
        self.again = False
        self.failure: Exception | None = None
        self._begin = begin
        self._errors = engine.errors
        self._own_fault = engine.own_fault
        self._log = log
        self._buffer = Buffer(engine.writer(opened.txn))
        self._spent = 0

    @property
    def full(self) -> bool:
        return (
            len(self.jobs) >= MAX_BATCH
            or self._spent >= MAX_TIME
            or self._buffer.size >= MAX_BYTES
            or self.failure is not None
        )

    @property
    def idle(self) -> bool:
        """Whether there is nothing to commit."""
        return self.failure is None and self._buffer.empty

    def run(self, job: Job[C, Any]) -> int:
        """Run one job's function; the time since it was submitted, ns."""
        started = time.monotonic_ns()
        self.jobs.append(job)
        buffer = self._buffer
        try:
            job.run(self._begin(buffer))
        except BaseException as error:  # noqa: BLE001 - it is the caller's to handle
            buffer.undo()
            job.refuse(error)
            if isinstance(error, self._errors) and not isinstance(
                error, self._own_fault
            ):
                self.failure = error
        else:
            buffer.keep()
            self.done.append(job)
        spent = time.monotonic_ns() - started
        self._spent += spent
        if spent > SLOW:
            self._log.warning(
                "update %s held the event loop for %.2f s: it should be `long`",
                job.name,
                spent / 1e9,
            )
        return started - job.submitted

    def apply(self) -> None:
        """Make the changes in the transaction; afterwards it is the writer's."""
        try:
            self._buffer.apply()
        except self._errors:
            self.again = True
