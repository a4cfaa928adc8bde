# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""One at a time, by name: whoever comes second waits for the first."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

Key = tuple[str, ...]


class Turns:
    """Locks that exist as long as somebody holds one or waits for it."""

    def __init__(self) -> None:
        self._locks: dict[Key, trio.Lock] = {}

    @asynccontextmanager
    async def turn(self, *key: str) -> AsyncGenerator[None]:
        lock = self._locks.setdefault(key, trio.Lock())
        try:
            async with lock:
                yield
        finally:
            held = lock.statistics()
            if not held.locked and not held.tasks_waiting:
                self._locks.pop(key, None)
