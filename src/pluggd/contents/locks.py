# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Who works on what at the moment. In memory only: one daemon owns a root.

A ref is locked to fail: a second call is told so at once and retries when it likes.
A digest is locked to wait: putting a blob in place and removing its file exclude
each other, for as long as a rename and a commit take.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime

import trio

from pluggd.errors import Unavailable


class RefLocks:
    """Locks of a namespace and a ref, taken at once or not at all."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str], tuple[float, float]] = {}
        self._over: dict[tuple[str, str], trio.Event] = {}

    def is_held(self, key: tuple[str, str]) -> bool:
        return key in self._held

    def __len__(self) -> int:
        return len(self._held)

    @contextmanager
    def holding(self, key: tuple[str, str], name: str) -> Generator[None]:
        """Hold the lock of `key`; as `take`."""
        self.take(key, name)
        try:
            yield
        finally:
            self.release(key)

    def take(self, key: tuple[str, str], name: str) -> None:
        """Take the lock of `key`, until `release`; `name` is what the message calls it.

        Raises Unavailable when somebody else holds it.
        """
        taken = self._held.get(key)
        if taken is not None:
            elapsed, since = time.monotonic() - taken[0], taken[1]
            raise Unavailable(
                f"ref {name} locked for {elapsed * 1000:.6f}ms "
                f"(since {datetime.fromtimestamp(since, UTC).isoformat()}): unavailable"
            )
        self._held[key] = (time.monotonic(), time.time())

    def release(self, key: tuple[str, str]) -> None:
        del self._held[key]
        over = self._over.pop(key, None)
        if over is not None:
            over.set()

    async def released(self, wanted: Callable[[tuple[str, str]], bool]) -> None:
        """Wait until the locks that are held now, and wanted, were let go of once."""
        held = [key for key in self._held if wanted(key)]
        for event in [self._over.setdefault(key, trio.Event()) for key in held]:
            await event.wait()


class DigestGuards:
    """Locks that are waited for; one per digest, there only while it is wanted."""

    def __init__(self) -> None:
        self._guards: dict[str, tuple[trio.Lock, int]] = {}

    def __len__(self) -> int:
        return len(self._guards)

    @asynccontextmanager
    async def holding(self, digests: Iterable[str]) -> AsyncGenerator[None]:
        """Hold the guards of all these digests; taken in order, so nobody deadlocks."""
        held: list[str] = []
        try:
            for digest in sorted(set(digests)):
                lock, wanted = self._guards.get(digest, (None, 0))
                lock = lock or trio.Lock()
                self._guards[digest] = (lock, wanted + 1)
                try:
                    await lock.acquire()
                except trio.Cancelled:
                    self._forget(digest)
                    raise
                held.append(digest)
            yield
        finally:
            for digest in reversed(held):
                self._guards[digest][0].release()
                self._forget(digest)

    def _forget(self, digest: str) -> None:
        lock, wanted = self._guards[digest]
        if wanted == 1:
            del self._guards[digest]
        else:
            self._guards[digest] = (lock, wanted - 1)
