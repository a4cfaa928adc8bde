# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which plugin answers for which service, as the status table has it just now.

The dispatcher is told when all plugins had their turn, and again whenever one of them
fails later; until then and afterwards nothing is served.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio

from pluggd import __version__
from pluggd.core.dispatch import Dispatcher
from pluggd.core.lobby import Lobby
from pluggd.core.server import serve
from pluggd.core.settings import LimitSettings, Settings
from pluggd.core.status import Status
from pluggd.core.table import Row, Table
from pluggd.errors import NotFound, PluggdError, Unavailable
from pluggd.services.introspection import Health, ServiceHealth
from pluggd.services.kind import Kind
from pluggd.services.management import MANAGEMENT
from pluggd.services.schema import is_served
from pluggd.wire.limits import Limits

_ON_PURPOSE = frozenset({Status.SKIPPED, Status.DISABLED})
"""What keeps a plugin from working without anything being wrong."""


class Services:
    """The served kinds of one daemon."""

    def __init__(self, table: Table, settings: Settings) -> None:
        self._table = table
        self._grace = settings.rpc.grace
        self._open = False
        self._kinds: dict[str, Kind[Any]] = {}
        self.hurry = trio.Event()
        self.dispatcher = Dispatcher(
            limits_of(settings.rpc.limits),
            version=__version__,
            access=settings.rpc.access,
        )
        self._lobby = Lobby(self.dispatcher)
        self._pending: list[Callable[[], bool]] = []
        self._note_kinds()
        table.on_change = self._changed

    def apply(self, settings: Settings) -> None:
        """Take over what of the settings can change while clients are connected: the
        limits are those of connections that come later."""
        self._grace = settings.rpc.grace
        self.dispatcher.limits = limits_of(settings.rpc.limits)
        self.dispatcher.set_access(settings.rpc.access)

    def _note_kinds(self) -> None:
        """Take the kinds as the plugins that there are now declare them; one that is
        gone is no longer known, and one whose file changed may differ."""
        kinds: dict[str, Kind[Any]] = {}
        named: dict[str, str] = {}
        # What clashes with another has failed by now, and leaves the name to that one.
        for row in sorted(
            self._table.rows, key=lambda row: row.found.failure is not None
        ):
            if row.registration is None or not is_served(row.registration.provides):
                continue
            kind = row.registration.provides
            if named.setdefault(kind.service, kind.name) == kind.name:
                kinds.setdefault(kind.name, kind)
        for name in self._kinds.keys() - kinds.keys():
            self.dispatcher.remove(self._kinds[name].service)
        self._kinds = kinds

    def open(self) -> None:
        """All plugins had their turn, or some another one: tell the dispatcher who
        answers for what."""
        self._open = True
        self._note_kinds()
        self._note_pending()
        for kind in self._kinds.values():
            self._choose(kind)
        known = {kind.service for kind in self._kinds.values()}
        for row in self._table.rows:
            # Whose interface is not even known, since the registration is wrong.
            if row.registration is None or row.status is not Status.FAILED:
                continue
            kind = row.registration.provides
            if kind.served and kind.service not in known:
                error = self._table.why_unavailable(row.kind)
                self.dispatcher.unavailable(kind.service, error)

    def close(self) -> None:
        """What changes from now on is the daemon's stop and no news."""
        self._open = False

    async def withdraw(self, rows: Collection[Row], why: str) -> None:
        """Answer calls of what these plugins serve with `unavailable`, and wait until
        those in flight have ended, were given up, or had their grace."""
        kinds = [
            kind
            for kind in self._kinds.values()
            if self.dispatcher.provider(kind.service) in {row.uri for row in rows}
        ]
        error = Unavailable(f"{why}: unavailable")
        for kind in kinds:
            self.dispatcher.unavailable(kind, error)
        # Who asked for the change waits for its end.
        services = {kind.service for kind in kinds} - {MANAGEMENT.service}
        await self._lobby.drain(services, error, self._grace)

    def _changed(self, row: Row) -> None:
        if self._open and row.status is Status.FAILED and row.kind in self._kinds:
            self._choose(self._kinds[row.kind])

    def _choose(self, kind: Kind[Any]) -> None:
        row, error = self._provider(kind)
        if row is not None:
            # What answers already keeps its methods and their statistics.
            if self.dispatcher.serves(kind.service, row.instance):
                return
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
                    status="serving" if row is not None else self._idle(kind.name),
                    reason=error.message if error is not None else "",
                )
            )
        if service and not services:
            raise NotFound(f'service "{service}": not found')
        fine = {"serving"} if service else {"serving", *_ON_PURPOSE}
        serving = all(one.status in fine for one in services)
        return Health(status="serving" if serving else "not_serving", services=services)

    def _idle(self, kind: str) -> str:
        """What a service is that nobody provides: a fault, unless it is meant so."""
        found = {row.status for row in self._table.rows if row.kind == kind}
        if not found <= _ON_PURPOSE:
            return "not_serving"
        # One that was tried tells more than one that was not.
        return (Status.SKIPPED if Status.SKIPPED in found else Status.DISABLED).value

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
            grace=self._grace,
            hurry=self.hurry,
            lobby=self._lobby,
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(run, name="server")
            try:
                yield
            finally:
                stop.set()

    def _note_pending(self) -> None:
        self._pending[:] = [
            row.instance.pending
            for row in self._table.rows
            if callable(getattr(row.instance, "pending", None))
        ]

    def _busy(self) -> Callable[[], bool]:
        """Whether threads have work that somebody waits for: then the server gives way,
        or they hardly ever get the interpreter lock (docs/decisions/0002)."""
        limiter = trio.to_thread.current_default_thread_limiter()
        pending = self._pending

        def busy() -> bool:  # asked in every round: no generator
            for ask in pending:
                if ask():
                    return True
            return limiter.borrowed_tokens > 0

        return busy


def limits_of(settings: LimitSettings) -> Limits:
    """The limits of the wire, from those of the configuration: the same names."""
    return Limits(
        **{name: getattr(settings, name) for name in settings.__struct_fields__}
    )
