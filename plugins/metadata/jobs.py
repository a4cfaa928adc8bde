# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""One update on its way through the writer thread, and what becomes of it.

A job is made and waited for in the trio thread and run in the writer's. Between the
two it has exactly one owner: it is handed over through the writer's queue and handed
back through `run_sync_soon`. Only `abandoned` is written while the other side has it.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

import outcome
import trio

from pluggd.errors import Internal

if TYPE_CHECKING:
    from plugins.metadata.kv import Database

T = TypeVar("T")
C = TypeVar("C")


class Job(Generic[C, T]):
    """A function that waits to be run on a C, which the writer makes for it.

    reclaim: it frees space. table: one that is made before it runs, alone.
    change: the C of its last run. committed: that is durable. error: why it is not.
    """

    __slots__ = (
        "_function",
        "_value",
        "abandoned",
        "change",
        "committed",
        "context",
        "database",
        "error",
        "reclaim",
        "table",
        "task",
    )

    def __init__(
        self, function: Callable[[C], T], *, reclaim: bool = False, table: str = ""
    ) -> None:
        self._function = function
        self._value: list[T] = []
        self.reclaim = reclaim
        self.table = table
        self.database: Database | None = None
        self.context = contextvars.copy_context()
        self.error: BaseException | None = None
        self.change: C | None = None
        self.committed = False
        self.abandoned = False
        self.task: trio.lowlevel.Task | None = None

    @property
    def name(self) -> str:
        """The function, for log lines."""
        return getattr(self._function, "__qualname__", repr(self._function))

    def run(self, change: C) -> None:
        """Call the function in the context of the caller; may be repeated."""
        self._value.clear()
        self.change = None
        self._value.append(self.context.run(self._function, change))
        self.change = change

    def fail(self, error: BaseException) -> None:
        """Settle it as not happened, unless it failed by itself before."""
        self.change = None
        if self.error is None:
            self.error = error

    async def wait(self) -> T:
        """Sleep until `wake`; the function's result or its error."""
        self.task = trio.lowlevel.current_task()

        def abandon(_: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
            self.abandoned = True
            self.task = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abandon)
        return self._value[0]

    def wake(self) -> None:
        """In the trio thread: let the waiter go on, if it still waits."""
        if self.task is None:
            return
        task, self.task = self.task, None
        if self.committed:
            trio.lowlevel.reschedule(task)
        else:
            # Nothing is acknowledged for want of an error.
            error = self.error or Internal(f"update {self.name} was not committed")
            trio.lowlevel.reschedule(task, outcome.Error(error))
