# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""An outcome that is there later, without a task that waits for it.

For methods that hand their work on and answer when somebody else is done with it, a
thousand at a time: a task for each would cost more than its work. The server has
itself called back, a caller in process awaits `wait`. Belongs to the trio thread.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from threading import local
from typing import Generic, TypeVar

import outcome
import trio

T = TypeVar("T")


class _Settling(local):
    """What is to follow the outcomes that are set just now, in this thread."""

    def __init__(self) -> None:
        self.after: dict[Callable[[], None], None] | None = None


_settling = _Settling()


@contextmanager
def settling() -> Generator[None]:
    """Set many outcomes: what has to follow them happens once, at the end."""
    after = _settling.after
    if after is not None:
        yield
        return
    after = _settling.after = {}
    try:
        yield
    finally:
        _settling.after = None
        for function in after:
            function()


def after_settling(function: Callable[[], None]) -> bool:
    """Have this called at the end of the `settling` under way; False if there is none.

    It must not raise. Given twice it is called once.
    """
    if _settling.after is None:
        return False
    _settling.after[function] = None
    return True


class Deferred(Generic[T]):
    """A value or an error that is set once. Whoever sets it second is ignored."""

    __slots__ = ("_callback", "_outcome")

    def __init__(self) -> None:
        self._outcome: outcome.Value[T] | outcome.Error | None = None
        self._callback: Callable[[Deferred[T]], None] | None = None

    @property
    def done(self) -> bool:
        return self._outcome is not None

    def succeed(self, value: T) -> None:
        self._settle(outcome.Value(value))

    def fail(self, error: BaseException) -> None:
        self._settle(outcome.Error(error))

    def result(self) -> T:
        """The value; raises the error. Once, and only when `done`."""
        assert self._outcome is not None
        return self._outcome.unwrap()

    def then(self, callback: Callable[[Deferred[T]], None]) -> None:
        """Have this called when it is done, at once if it is. It must not raise.

        One callback, of one caller: a later one takes its place.
        """
        if self._outcome is not None:
            callback(self)
        else:
            self._callback = callback

    async def wait(self) -> T:
        """Wait until it is done; as `result`. Does not wait if it is.

        A cancelled caller forgets it; what was begun goes on.
        """
        if self._outcome is None:
            task = trio.lowlevel.current_task()
            self._callback = lambda _: trio.lowlevel.reschedule(task)

            def abandon(_: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
                self._callback = None
                return trio.lowlevel.Abort.SUCCEEDED

            await trio.lowlevel.wait_task_rescheduled(abandon)
        return self.result()

    def _settle(self, result: outcome.Value[T] | outcome.Error) -> None:
        if self._outcome is not None:
            return
        self._outcome = result
        callback, self._callback = self._callback, None
        if callback is not None:
            callback(self)
