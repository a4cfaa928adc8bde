# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Pass on the latest state to a receiver that may be slower than the work."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

import trio

from pluggd.services.rpc import Send

T = TypeVar("T")


@asynccontextmanager
async def latest(out: Send[T]) -> AsyncGenerator[Callable[[T], None]]:
    """What takes states, and never waits, while the block runs; overtaken ones are
    dropped. What the block raises comes out as it is."""
    state: list[T] = []
    new = trio.Event()

    def put(value: T) -> None:
        state[:] = [value]
        new.set()

    async def pump() -> None:
        nonlocal new
        with suppress(trio.BrokenResourceError):
            while True:
                await new.wait()
                new = trio.Event()
                await out.send(state.pop())

    raised: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pump)
        try:
            yield put
        except Exception as error:  # noqa: BLE001  # raised again below, unwrapped
            raised = error
        nursery.cancel_scope.cancel()
    if raised is not None:
        raise raised
