# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How far a transfer is: kept for `status`, sent to whoever listens.

What is sent is the latest state, some times a second; a listener that does not
read slows nothing down and misses only what was overtaken.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import trio

from pluggd.services.transfer import Progress

INTERVAL = 0.1  # seconds; faster than an eye follows a bar
LAST = (
    5.0  # seconds for whoever listens to take the last state; the answer comes after it
)


class Reporter:
    """The progress of one transfer, by name of blob or image."""

    def __init__(self) -> None:
        self.latest: dict[str, Progress] = {}
        self._changed: dict[str, Progress] = {}

    def set(self, event: str, name: str, progress: int = 0, total: int = 0) -> None:
        state = Progress(event=event, name=name, progress=progress, total=total)
        self.latest[name] = state
        self._changed.pop(name, None)  # what happened last is told last
        self._changed[name] = state

    async def tell(self, send: Callable[[Progress], Awaitable[None]]) -> None:
        """Send what was not told yet. Being cancelled, it leaves the rest for the next
        call."""
        for state in list(self._changed.values()):
            if self._changed.get(state.name) is state:  # or it was overtaken meanwhile
                await send(state)
                if self._changed.get(state.name) is state:
                    del self._changed[state.name]


@asynccontextmanager
async def reporting(
    reporter: Reporter, send: Callable[[Progress], Awaitable[None]]
) -> AsyncGenerator[None]:
    """Send what changes while the block runs, and the last state at its good end.

    What the block raises comes out as it is, not in an exception group.
    """

    async def pump() -> None:
        # Nobody listens any more: the call itself is cancelled for it, or goes on.
        with suppress(trio.BrokenResourceError):
            while True:
                await trio.sleep(INTERVAL)
                await reporter.tell(send)

    raised: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pump)
        try:
            yield
        except Exception as error:  # noqa: BLE001  # raised again below, unwrapped
            raised = error
        nursery.cancel_scope.cancel()
    if raised is not None:
        raise raised
    with trio.move_on_after(LAST), suppress(trio.BrokenResourceError):
        await reporter.tell(send)
