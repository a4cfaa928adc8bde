# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""One plugin, started by its own registration, with what it needs given by hand.

For tests of a plugin that need no daemon: what it yields is there at once, and what it
requires can be fakes.
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
from pluggd.plugin import FigureSource, Registration
from pluggd.services.kind import Kind

T = TypeVar("T")
C = TypeVar("C", bound=Record)

NOWHERE = Path("/nonexistent")


class FakeContext(Generic[C]):
    """A `pluggd.plugin.Context` made by hand.

    kinds: what it finds; the id is "fake". Without a nursery, nothing can be spawned.
    exports, capabilities, platforms, trouble: what the plugin said. crashed: what its background
    tasks raised, in order; `has_crashed` is set with the first. With `strict`, a crash
    is raised in the nursery, and so fails the test.
    """

    def __init__(
        self,
        config: C,
        kinds: Mapping[Kind[Any], Any] | None = None,
        *,
        uri: str = "pluggd.fake.v1.fake",
        root: Path = NOWHERE,
        nursery: trio.Nursery | None = None,
        strict: bool = True,
    ) -> None:
        self.uri = uri
        self.config = config
        self.root = self.state = root
        self.log = logging.LoggerAdapter(logging.getLogger(uri), {})
        self.trouble = ""
        self.exports: dict[str, str] = {}
        self.figures: list[FigureSource] = []
        self.capabilities: list[str] = []
        self.platforms: list[Platform] = []
        self.crashed: list[Exception] = []
        self.has_crashed = trio.Event()
        self._kinds: Mapping[Kind[Any], Any] = {} if kinds is None else kinds
        self._nursery = nursery
        self._strict = strict
        self._tasks: dict[trio.CancelScope, trio.Event] = {}
        self._on_stop: list[Callable[[], object]] = []
        self._reload: Callable[[C], None] | None = None

    def get(self, kind: Kind[T]) -> T:
        found = self.find(kind)
        if found is None:
            raise NotFound(f"plugin for {kind}: not found")
        return found

    def get_all(self, kind: Kind[T]) -> dict[str, T]:
        found = self.find(kind)
        return {} if found is None else {"fake": found}

    def find(self, kind: Kind[T]) -> T | None:
        return self._kinds.get(kind)

    def decorated(self, kind: Kind[T]) -> T:
        return self.get(kind)

    def spawn(
        self,
        function: Callable[..., Awaitable[object]],
        *args: object,
        name: str | None = None,
    ) -> None:
        if self._nursery is None:
            raise RuntimeError(f"{self.uri}: this context has no nursery for tasks")
        scope, over = trio.CancelScope(), trio.Event()
        self._tasks[scope] = over

        async def run() -> None:
            try:
                with scope:
                    await function(*args)
            except Exception as error:
                self.crashed.append(error)
                self.has_crashed.set()
                if self._strict:
                    raise
            finally:
                over.set()

        self._nursery.start_soon(run, name=name)

    def on_stop(self, function: Callable[[], object]) -> None:
        self._on_stop.append(function)

    def on_reload(self, function: Callable[[C], None]) -> None:
        self._reload = function

    def degraded(self, reason: str) -> None:
        self.trouble = reason

    def export(self, key: str, value: str) -> None:
        self.exports[key] = value

    def export_figures(self, source: FigureSource) -> None:
        self.figures.append(source)

    def capability(self, name: str) -> None:
        self.capabilities.append(name)

    def platform(self, platform: Platform) -> None:
        self.platforms.append(platform)

    # --- for the test

    def reload(self, config: C) -> None:
        """Give the running plugin new options. Raises what it raises, or RuntimeError
        when it takes none."""
        if self._reload is None:
            raise RuntimeError(f"{self.uri}: takes no options while it runs")
        self.config = config
        self._reload(config)

    async def stop_tasks(self) -> None:
        """Cancel its background tasks and wait for their end."""
        for scope in self._tasks:
            scope.cancel()
        for over in self._tasks.values():
            await over.wait()

    def let_go(self) -> None:
        """Undo what it began with others, as its stop does."""
        while self._on_stop:
            self._on_stop.pop()()


@asynccontextmanager
async def started(
    registration: Registration[T, C],
    kinds: Mapping[Kind[Any], Any],
    config: C,
    root: Path = NOWHERE,
) -> AsyncGenerator[tuple[T, FakeContext[C]]]:
    """What the plugin yields, and its context, while the block runs. root: its
    directory, which must exist when the plugin keeps files."""
    async with trio.open_nursery() as nursery:
        context = FakeContext(
            config, kinds, uri=registration.uri, root=root, nursery=nursery
        )
        async with registration.start(context) as service:
            try:
                yield service, context
            finally:
                with trio.CancelScope(shield=True):
                    await context.stop_tasks()
        context.let_go()
