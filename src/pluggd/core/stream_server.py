# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The server again, in plain trio: a task that reads and one that writes per connection.

Several times slower than `server` and a third of its size. It is the reference: the
tests run the same suite on both, so what the fast one does is what this one does.
"""

from __future__ import annotations

import logging
import select
import socket
import time
from collections.abc import Awaitable, Callable

import trio

from pluggd.core.connection import Connection
from pluggd.core.dispatch import Dispatcher
from pluggd.core.lobby import Lobby
from pluggd.core.server import GRACE
from pluggd.core.sockets import (
    ancillary_size,
    peer_of,
    read_once,
    refuse,
    send_some,
)

log = logging.getLogger("pluggd.rpc")


async def serve_streams(
    listener: socket.socket,
    dispatcher: Dispatcher,
    *,
    busy: Callable[[], bool] | None = None,
    stop: trio.Event | None = None,
    grace: float = GRACE,
    hurry: trio.Event | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """As `server.serve`. `busy` is not looked at: trio's own loop leaves threads time."""
    listener.setblocking(False)
    lobby = Lobby(dispatcher)
    async with trio.open_nursery() as nursery:
        accepting = trio.CancelScope()
        nursery.start_soon(_accept, listener, dispatcher, lobby, nursery, accepting)
        task_status.started()
        try:
            await (stop if stop is not None else trio.Event()).wait()
        finally:
            accepting.cancel()
            trio.lowlevel.notify_closing(listener)
            listener.close()
        await lobby.stop(grace, hurry)
        nursery.cancel_scope.cancel()


async def _accept(
    listener: socket.socket,
    dispatcher: Dispatcher,
    lobby: Lobby,
    nursery: trio.Nursery,
    scope: trio.CancelScope,
) -> None:
    with scope:
        while True:
            await trio.lowlevel.wait_readable(listener)
            try:
                sock, _address = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                continue
            sock.setblocking(False)
            if lobby.full:
                refuse(sock, lobby.refusal())
            else:
                peer = _Peer(sock, dispatcher, lobby)
                lobby.enter(peer.connection)
                nursery.start_soon(peer.run)


class _Peer:
    """A connection, its socket and its tasks; the connection's Host."""

    def __init__(
        self, sock: socket.socket, dispatcher: Dispatcher, lobby: Lobby
    ) -> None:
        self._sock = sock
        self._lobby = lobby
        self._room = ancillary_size(dispatcher.limits.descriptors)
        self._nursery: trio.Nursery | None = None
        self._lot = trio.lowlevel.ParkingLot()
        self.connection = Connection(dispatcher, self, lobby.new_id(), peer_of(sock))

    def spawn(self, function: Callable[[], Awaitable[object]]) -> None:
        if self._nursery is not None:
            self._nursery.start_soon(function)

    def touched(self) -> None:
        self._lot.unpark_all()

    async def run(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._read)
                await self._write()
                nursery.cancel_scope.cancel()
        except Exception:  # one connection must never hurt another
            log.exception("cutting %s", self.connection.session.id)
        finally:
            self.connection.lost()
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()
            self._lobby.leave(self.connection)

    async def _read(self) -> None:
        connection = self.connection
        while True:
            if connection.reading:
                await trio.lowlevel.wait_readable(self._sock)
                if connection.reading:
                    connection.statistics.turn = time.perf_counter_ns()
                    read_once(self._sock, connection, self._room, self._hung_up())
                    self._lot.unpark_all()
            else:
                await self._lot.park()

    def _hung_up(self) -> bool:
        poll = select.poll()
        poll.register(self._sock.fileno(), 0)
        return any(mask & select.POLLHUP for _, mask in poll.poll(0))

    async def _write(self) -> None:
        connection = self.connection
        while not connection.finished:
            if connection.outbox.size:
                if not send_some(self._sock, connection):
                    await self._wait_writable()
                connection.flushed()
            else:
                await self._lot.park()
            self._lot.unpark_all()
            self._lobby.changed()

    async def _wait_writable(self) -> None:
        """Until the socket takes more, or the connection is given up."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, nursery.cancel_scope)
            await trio.lowlevel.wait_writable(self._sock)
            nursery.cancel_scope.cancel()

    async def _watch(self, scope: trio.CancelScope) -> None:
        while not self.connection.finished:
            await self._lot.park()
        scope.cancel()
