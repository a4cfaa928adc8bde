# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which plugin answers for which service, as the status table has it just now.

The dispatcher is told when all plugins had their turn, and again whenever one of them
fails later; until then and afterwards nothing is served.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio

from pluggd import __version__
from pluggd.core.dispatch import Dispatcher
from pluggd.core.server import serve
from pluggd.core.settings import LimitSettings, Settings
from pluggd.core.status import Status
from pluggd.core.table import Row, Table
from pluggd.errors import NotFound, PluggdError
from pluggd.services.introspection import Health, ServiceHealth
from pluggd.services.kind import Kind
from pluggd.services.rpc import RPC_ATTRIBUTE
from pluggd.wire.limits import Limits


class Services:
    """The served kinds of one daemon."""

    def __init__(self, table: Table, settings: Settings) -> None:
        self._table = table
        self._settings = settings
        self._open = False
        self._kinds: dict[str, Kind[Any]] = {}
        self.hurry = trio.Event()
        self.dispatcher = Dispatcher(
            limits_of(settings.rpc.limits),
            version=__version__,
            access=settings.rpc.access,
        )
        for row in table.rows:
            if row.registration is not None and is_served(row.registration.provides):
                kind = row.registration.provides
                self._kinds.setdefault(kind.name, kind)
        table.on_change = self._changed

    def open(self) -> None:
        """All plugins had their turn: tell the dispatcher who answers for what."""
        self._open = True
        for kind in self._kinds.values():
            self._choose(kind)
        for row in self._table.rows:
            # Whose interface is not even known, since the registration is wrong.
            if row.registration is not None and row.kind not in self._kinds:
                error = self._table.why_unavailable(row.kind)
                if row.status is Status.FAILED:
                    self.dispatcher.unavailable(
                        row.registration.provides.service, error
                    )

    def close(self) -> None:
        """What changes from now on is the daemon's stop and no news."""
        self._open = False

    def _changed(self, row: Row) -> None:
        if self._open and row.status is Status.FAILED and row.kind in self._kinds:
            self._choose(self._kinds[row.kind])

    def _choose(self, kind: Kind[Any]) -> None:
        row, error = self._provider(kind)
        if row is not None:
            self.dispatcher.add(kind, row.instance, row.uri)
        elif error is not None:
            self.dispatcher.unavailable(kind, error)

    def _provider(self, kind: Kind[Any]) -> tuple[Row | None, PluggdError | None]:
        try:
            row = self._table.single(kind.name)
        except PluggdError as error:
            return None, error
        if row is None:
            return None, self._table.why_unavailable(kind.name)
        return row, None

    def describe(self, service: str = "") -> list[dict[str, Any]]:
        return self.dispatcher.describe(service)

    def health(self, service: str = "") -> Health:
        services: list[ServiceHealth] = []
        for kind in sorted(self._kinds.values(), key=lambda kind: kind.service):
            if service not in ("", kind.service, kind.name):
                continue
            row, error = self._provider(kind)
            services.append(
                ServiceHealth(
                    service=kind.service,
                    status="serving" if row is not None else "not_serving",
                    reason=error.message if error is not None else "",
                )
            )
        if service and not services:
            raise NotFound(f'service "{service}": not found')
        serving = all(one.status == "serving" for one in services)
        return Health(status="serving" if serving else "not_serving", services=services)

    @asynccontextmanager
    async def served(self, listener: socket.socket) -> AsyncGenerator[None]:
        """Answer on the socket while the block runs; then running calls get their
        grace, or none when the daemon is hurried."""
        stop = trio.Event()

        run = partial(
            serve,
            listener,
            self.dispatcher,
            busy=self._busy(),
            stop=stop,
            grace=self._settings.rpc.grace,
            hurry=self.hurry,
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(run, name="server")
            try:
                yield
            finally:
                stop.set()

    def _busy(self) -> Callable[[], bool]:
        """Whether threads have work that somebody waits for: then the server gives way,
        or they hardly ever get the interpreter lock (docs/decisions/0002)."""
        limiter = trio.to_thread.current_default_thread_limiter()
        pending: list[Callable[[], bool]] = [
            row.instance.pending
            for row in self._table.rows
            if callable(getattr(row.instance, "pending", None))
        ]

        def busy() -> bool:  # asked in every round: no generator
            for ask in pending:
                if ask():
                    return True
            return limiter.borrowed_tokens > 0

        return busy


def is_served(kind: Kind[Any]) -> bool:
    """Whether the interface declares methods with @rpc."""
    return any(
        hasattr(member, RPC_ATTRIBUTE)
        for cls in kind.interface.__mro__
        for member in vars(cls).values()
    )


def limits_of(settings: LimitSettings) -> Limits:
    """The limits of the wire, from those of the configuration: the same names."""
    return Limits(
        **{name: getattr(settings, name) for name in settings.__struct_fields__}
    )
