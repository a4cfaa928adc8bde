# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a plugin is given when it starts: the `Context` of `pluggd.plugin`, for real.

It hands out only what the registration declared, so that the graph is the truth about
who uses whom.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

from pluggd.core.status import chain
from pluggd.core.table import Row, Table
from pluggd.errors import FailedPrecondition, NotFound
from pluggd.model.record import Record
from pluggd.model.types import Platform
from pluggd.plugin import FigureSource, Registration
from pluggd.services.kind import Kind

T = TypeVar("T")
C_co = TypeVar("C_co", bound=Record, covariant=True)
Spawn = Callable[[Callable[..., Awaitable[object]], tuple[object, ...], str], None]


class PluginContext(Generic[C_co]):
    """See `pluggd.plugin.Context`."""

    def __init__(
        self,
        row: Row,
        registration: Registration[Any, C_co],
        config: C_co,
        table: Table,
        *,
        root: Path,
        state: Path,
        log: logging.LoggerAdapter[logging.Logger],
        spawn: Spawn,
    ) -> None:
        self._row = row
        self._registration = registration
        self._config = config
        self._table = table
        self._root = root
        self._state = state
        self._log = log
        self._spawn = spawn

    @property
    def uri(self) -> str:
        return self._row.uri

    @property
    def config(self) -> C_co:
        return self._config

    @property
    def root(self) -> Path:
        return _made(self._root, 0o700)

    @property
    def state(self) -> Path:
        return _made(self._state, 0o711)

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        return self._log

    def get(self, kind: Kind[T]) -> T:
        found = self.find(kind)
        if found is None:
            causes = self._table.obstacle(kind.name)
            raise NotFound(
                f"plugin for {kind.name}: not found, because {chain(causes)}"
            )
        return found

    def get_all(self, kind: Kind[T]) -> dict[str, T]:
        self._declared(kind)
        return dict(self._table.instances(kind.name))

    def find(self, kind: Kind[T]) -> T | None:
        self._declared(kind)
        row = self._table.single(kind.name)
        if row is None:
            return None
        # mismatches() compared it with the interface of this kind at its start.
        instance: T = row.instance
        return instance

    def decorated(self, kind: Kind[T]) -> T:
        if not self._registration.decorates or kind != self._registration.provides:
            raise FailedPrecondition(
                f"plugin {self.uri} asks for the {kind.name} that it decorates, and it"
                f" decorates {'another kind' if self._registration.decorates else 'none'}:"
                " set decorates=True in the registration that provides it:"
                " failed precondition"
            )
        row = self._table.single(kind.name, below=self._row)
        if row is None:
            causes = self._table.obstacle(kind.name, below=self._row)
            raise NotFound(
                f"plugin for {kind.name}: not found, because {chain(causes)}"
            )
        instance: T = row.instance
        return instance

    def spawn(
        self,
        function: Callable[..., Awaitable[object]],
        *args: object,
        name: str | None = None,
    ) -> None:
        label = name or str(getattr(function, "__qualname__", function))
        self._spawn(function, args, label)

    def on_stop(self, function: Callable[[], object]) -> None:
        self._row.on_stop.append(function)

    def on_reload(self, function: Callable[[C_co], None]) -> None:
        self._row.on_reload = function

    def degraded(self, reason: str) -> None:
        self._row.degraded = reason

    def export(self, key: str, value: str) -> None:
        self._row.exports[key] = value

    def export_figures(self, source: FigureSource) -> None:
        self._row.figures.append(source)

    def capability(self, name: str) -> None:
        if name not in self._row.capabilities:
            self._row.capabilities.append(name)

    def platform(self, platform: Platform) -> None:
        if platform not in self._row.platforms:
            self._row.platforms.append(platform)

    def _declared(self, kind: Kind[Any]) -> None:
        if kind not in (*self._registration.requires, *self._registration.wants):
            raise FailedPrecondition(
                f"plugin {self.uri} asks for {kind.name}, which it does not declare:"
                " add the kind to requires or wants of its registration:"
                " failed precondition"
            )


def _made(directory: Path, mode: int) -> Path:
    """Made when first asked for: most plugins keep no files."""
    if not directory.is_dir():
        directory.mkdir(mode=mode, parents=True, exist_ok=True)
        directory.chmod(mode)
    return directory
