# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Who works on what at the moment. In memory only: one daemon owns a root."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Generator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import trio

from .records import Place


class Guards:
    """Locks of places, there only while they are wanted; taken in order."""

    def __init__(self) -> None:
        self._locks: dict[Place, trio.Lock] = {}
        self._wanted: Counter[Place] = Counter()

    @asynccontextmanager
    async def holding(self, *places: Place) -> AsyncGenerator[None]:
        async with AsyncExitStack() as stack:
            for place in sorted(set(places)):
                await stack.enter_async_context(self._one(place))
            yield

    @asynccontextmanager
    async def _one(self, place: Place) -> AsyncGenerator[None]:
        lock = self._locks.setdefault(place, trio.Lock())
        self._wanted[place] += 1
        try:
            async with lock:
                yield
        finally:
            self._wanted[place] -= 1
            if not self._wanted[place]:
                del self._wanted[place]
                del self._locks[place]


class InFlight:
    """Driver keys that are ahead of, or behind, their records for a moment."""

    def __init__(self) -> None:
        self._keys: Counter[str] = Counter()

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    @contextmanager
    def having(self, keys: Iterable[str]) -> Generator[None]:
        keys = list(keys)
        self._keys.update(keys)
        try:
            yield
        finally:
            self._keys.subtract(keys)
            self._keys += Counter()
