# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The connections of a daemon as a whole: how many, and how they end.

Shared by both forms of the server, which only differ in how bytes come and go.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Collection

import trio

from pluggd.core.calls import ActiveCall
from pluggd.core.connection import Connection
from pluggd.core.dispatch import Dispatcher
from pluggd.core.inflight import DeferredCall
from pluggd.errors import ResourceExhausted, Unavailable, to_text
from pluggd.wire.encoder import encode_notification
from pluggd.wire.messages import ERROR

log = logging.getLogger("pluggd.rpc")

LAST_WORDS = 1.0
"""Seconds for the last answers to leave when the daemon stops."""


class Lobby:
    """Who is connected."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.connections: set[Connection] = set()
        self._dispatcher = dispatcher
        self._limit = dispatcher.limits.connections
        self._numbers = itertools.count(1)
        self._changed = trio.lowlevel.ParkingLot()
        self._full_logged = False

    def new_id(self) -> str:
        """The name of the next connection, for log lines."""
        return f"c{next(self._numbers)}"

    @property
    def full(self) -> bool:
        return len(self.connections) >= self._limit

    def refusal(self) -> bytes:
        """What to send to a connection that is one too many, before closing it."""
        self._dispatcher.statistics.refused += 1
        if not self._full_logged:
            self._full_logged = True
            log.warning("refusing connections: %d are open", len(self.connections))
        text = f"the daemon serves {self._limit} connections at a time"
        return encode_notification(ERROR, [to_text(ResourceExhausted(text))])

    def enter(self, connection: Connection) -> None:
        self.connections.add(connection)
        statistics = self._dispatcher.statistics
        statistics.accepted += 1
        statistics.connections = len(self.connections)

    def leave(self, connection: Connection) -> None:
        self.connections.discard(connection)
        self._dispatcher.statistics.connections = len(self.connections)
        self._full_logged = False
        self.changed()

    def changed(self) -> None:
        """A call ended or output left; looked at while stopping."""
        if self._changed:
            self._changed.unpark_all()

    async def drain(
        self, services: Collection[str], error: Unavailable, grace: float
    ) -> None:
        """Let the calls of these services end within `grace` seconds; those that wait
        for what may never come, and what is left then, get the error. New calls are
        the dispatcher's business."""

        def running() -> list[ActiveCall | DeferredCall]:
            return [
                call
                for connection in self.connections
                for call in connection.calls.values()
                if call.method.service in services
            ]

        for call in running():
            if call.method.schema.waits:
                call.cancel(error)
        with trio.move_on_after(grace):
            while running():
                await self._changed.park()
        for call in running():
            call.cancel(error)
        with trio.move_on_after(LAST_WORDS):
            while running():
                await self._changed.park()

    async def stop(self, grace: float, hurry: trio.Event | None = None) -> None:
        """Let calls in flight end within `grace` seconds or until `hurry` is set, answer
        the rest, and wait a moment for the answers to leave. The listener is closed
        already."""
        for connection in list(self.connections):
            connection.stop()
        async with trio.open_nursery() as nursery:
            if hurry is not None:
                nursery.start_soon(_cancel_after, hurry, nursery.cancel_scope)
            with trio.move_on_after(grace):
                while any(connection.calls for connection in self.connections):
                    await self._changed.park()
            nursery.cancel_scope.cancel()
        for connection in list(self.connections):
            connection.abandon()
        with trio.move_on_after(LAST_WORDS):
            while any(connection.outbox.size for connection in self.connections):
                await self._changed.park()


async def _cancel_after(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
