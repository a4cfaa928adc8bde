# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""One plugin, started by its own registration, with the kinds it needs given.

Background tasks run for real; if one crashes, the test fails.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

import trio

from pluggd.errors import NotFound
from pluggd.model.record import Record
from pluggd.model.types import Platform
from pluggd.plugin import Registration
from pluggd.services.kind import Kind

T = TypeVar("T")
C = TypeVar("C", bound=Record)


class OneContext(Generic[C]):
    """The context of the one plugin; remembers what it exports."""

    def __init__(
        self,
        config: C,
        kinds: Mapping[Kind[Any], Any],
        root: Path,
        nursery: trio.Nursery,
    ) -> None:
        self.uri = "pluggd.test.v1.one"
        self.config = config
        self.root = self.state = root
        self.log = logging.LoggerAdapter(logging.getLogger("one"))
        self.exports: dict[str, str] = {}
        self._kinds = kinds
        self._nursery = nursery
        self._tasks: dict[trio.CancelScope, trio.Event] = {}

    def get(self, kind: Kind[T]) -> T:
        found = self.find(kind)
        if found is None:
            raise NotFound(f"{kind}: not found")
        return found

    def get_all(self, kind: Kind[T]) -> dict[str, T]:
        return {"one": self.get(kind)}

    def find(self, kind: Kind[T]) -> T | None:
        return self._kinds.get(kind)

    def spawn(
        self,
        function: Callable[..., Awaitable[object]],
        *args: object,
        name: str | None = None,
    ) -> None:
        scope, over = trio.CancelScope(), trio.Event()
        self._tasks[scope] = over

        async def run() -> None:
            try:
                with scope:
                    await function(*args)
            finally:
                over.set()

        self._nursery.start_soon(run, name=name)

    async def stop_tasks(self) -> None:
        for scope in self._tasks:
            scope.cancel()
        for over in self._tasks.values():
            await over.wait()

    def export(self, key: str, value: str) -> None:
        self.exports[key] = value

    def capability(self, name: str) -> None: ...

    def platform(self, platform: Platform) -> None: ...


@asynccontextmanager
async def started(
    registration: Registration[T, C],
    kinds: Mapping[Kind[Any], Any],
    config: C,
    root: Path = Path("/nonexistent"),
) -> AsyncGenerator[tuple[T, OneContext[C]]]:
    """What the plugin yields, and its context, while the block runs."""
    async with trio.open_nursery() as nursery:
        context = OneContext(config, kinds, root, nursery)
        async with registration.start(context) as service:
            try:
                yield service, context
            finally:
                with trio.CancelScope(shield=True):
                    await context.stop_tasks()
