# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Hypothesis state machines whose rules wait.

One `trio.run` lives as long as the machine, in a thread of its own, so that what a
rule starts is still there in the next one. A rule is an ordinary function and calls
`self.wait(async_function, *args)`; `setup` is the surroundings of all of them.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

import trio
from hypothesis.stateful import RuleBasedStateMachine

T = TypeVar("T")


class TrioMachine(RuleBasedStateMachine):
    """A state machine with a trio loop. Override `setup`."""

    def __init__(self) -> None:
        super().__init__()
        self._ready = threading.Event()
        self._token: trio.lowlevel.TrioToken | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="trio machine")
        self._thread.start()
        self._ready.wait()
        if self._token is None:
            self._thread.join()
            raise RuntimeError("the machine did not start") from self._failure

    def setup(self) -> AbstractAsyncContextManager[None]:
        """What is there while rules run: entered before the first, left after the last."""
        return _nothing()

    def wait(self, function: Callable[..., Awaitable[T]], *args: object) -> T:
        """Run in the loop and return, or raise, what it did. At most 30 seconds."""

        async def bounded() -> T:
            with trio.fail_after(30):
                return await function(*args)

        return trio.from_thread.run(bounded, trio_token=self._token)

    def teardown(self) -> None:
        if self._token is not None:
            trio.from_thread.run_sync(self._stop.set, trio_token=self._token)
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            trio.run(self._main)
        except BaseException as error:  # noqa: BLE001 - handed to the machine's thread
            self._failure = error
        finally:
            self._ready.set()

    async def _main(self) -> None:
        self._stop = trio.Event()
        async with self.setup():
            self._token = trio.lowlevel.current_trio_token()
            self._ready.set()
            await self._stop.wait()


@asynccontextmanager
async def _nothing() -> AsyncGenerator[None]:
    yield
