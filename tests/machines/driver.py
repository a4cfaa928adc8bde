# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Lets a hypothesis state machine, which is synchronous, drive the stores.

Each machine has a trio of its own in a thread, with the stores over a metadata store
in memory; `call` runs one function there and returns what it returns.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from pluggd.services import call
from pluggd.testing import memory_metadata
from tests.contract.stand import Stand, stand

T = TypeVar("T")


class Driver:
    """The stores of one machine; `close` ends its thread."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._main,))
        self._thread.start()
        assert self._ready.wait(30), "the stores did not start"

    async def _main(self) -> None:
        async with memory_metadata() as metadata, stand(metadata) as self.stores:
            self._token = trio.lowlevel.current_trio_token()
            self._done = trio.Event()
            self._ready.set()
            await self._done.wait()

    def call(
        self,
        function: Callable[[Stand], Awaitable[T]],
        namespace: str = "",
        lease: str = "",
    ) -> T:
        async def run() -> T:
            with call.using(namespace=namespace, lease=lease), trio.fail_after(30):
                return await function(self.stores)

        return trio.from_thread.run(run, trio_token=self._token)

    def close(self) -> None:
        trio.from_thread.run_sync(self._done.set, trio_token=self._token)
        self._thread.join(30)
