# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""One update on its way to being durable, and what becomes of it.

A job is made and waited for in the trio thread. Its function runs there or in the
writer's thread; between the two the job has exactly one owner, the one that has the
turn (`writer.py`). Only `abandoned` is written while the other side has it.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import trio

from pluggd.deferred import Deferred
from pluggd.errors import Internal

T = TypeVar("T")
C = TypeVar("C")


def directly(change: C, function: Callable[[C], T]) -> T:
    return function(change)


class Job(Deferred[T], Generic[C, T]):
    """A function that waits to be run on a C, which the writer makes for it; its outcome.

    reclaim: it frees space. long: it runs in the writer's thread. table: one that is
    made before it runs, alone. through: calls the function. change: the C of its last
    run. committed: that is durable. error: why it is not. submitted: when (monotonic, ns).
    """

    __slots__ = (
        "_function",
        "_through",
        "_value",
        "abandoned",
        "change",
        "committed",
        "context",
        "database",
        "error",
        "long",
        "reclaim",
        "submitted",
        "table",
    )

    def __init__(
        self,
        function: Callable[[C], T],
        *,
        reclaim: bool = False,
        long: bool = False,
        table: str = "",
        through: Callable[[C, Callable[[C], T]], T] = directly,
    ) -> None:
        super().__init__()
        self._function = function
        self._through = through
        self._value: list[T] = []
        self.reclaim = reclaim
        self.long = long
        self.table = table
        self.database: Any = None
        self.context = contextvars.copy_context()
        self.error: BaseException | None = None
        self.change: C | None = None
        self.committed = False
        self.abandoned = False
        self.submitted = 0

    @property
    def name(self) -> str:
        """The function, for log lines."""
        return getattr(self._function, "__qualname__", repr(self._function))

    def run(self, change: C) -> None:
        """Call the function in the context of the caller; may be repeated."""
        self._value.clear()
        self.change = None
        self._value.append(self.context.run(self._through, change, self._function))
        self.change = change

    def refuse(self, error: BaseException) -> None:
        """Note that it has not happened, and why, unless it failed by itself before."""
        self.change = None
        if self.error is None:
            self.error = error

    def settle(self) -> None:
        """In the trio thread: it has happened or not; tell who waits."""
        if self.committed:
            self.succeed(self._value[0])
        else:
            # Nothing is acknowledged for want of an error.
            self.fail(self.error or Internal(f"update {self.name} was not committed"))

    async def wait(self) -> T:
        """As of `Deferred`; a checkpoint. Who is cancelled before the function began
        prevents it."""
        if self.done:
            await trio.lowlevel.cancel_shielded_checkpoint()
        else:
            task = trio.lowlevel.current_task()
            self.then(lambda _: trio.lowlevel.reschedule(task))
            await trio.lowlevel.wait_task_rescheduled(self._abandon)
        return self.result()

    def _abandon(self, _: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
        self.abandoned = True
        self.then(_nobody)
        return trio.lowlevel.Abort.SUCCEEDED


def _nobody(_: Deferred[T]) -> None:
    pass
