# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The server: one trio task drives all connections over a private epoll.

A trio task per connection would cost more in wake-ups than a request takes
(measured on a prototype: 6.7 us a request this way, 15 with a task per connection, 41 with one per
request). So sockets are read, requests answered and answers sent by plain functions in
rounds, a bounded amount for each connection, and trio sees one descriptor.

What the bytes mean is `connection`'s business. The same behaviour over plain
trio streams is `stream_server`, which the tests hold this one against.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import select
import socket
import time
from collections.abc import Awaitable, Callable

import trio

from pluggd.core.connection import Connection
from pluggd.core.dispatch import Dispatcher
from pluggd.core.giveway import GiveWay
from pluggd.core.linger import Linger
from pluggd.core.lobby import Lobby
from pluggd.core.sockets import (
    ancillary_size,
    peer_of,
    read_once,
    refuse,
    send_some,
)
from pluggd.deferred import after_settling

log = logging.getLogger("pluggd.rpc")

GRACE = 5.0
"""Seconds that calls in flight have when the daemon stops."""

ROUNDS = 8
"""Rounds before other tasks have their turn; a round is what epoll has ready."""

ACCEPT_PAUSE = 0.1
"""Seconds without accepting after the process ran out of descriptors."""

_OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


async def serve(
    listener: socket.socket,
    dispatcher: Dispatcher,
    *,
    busy: Callable[[], bool] | None = None,
    stop: trio.Event | None = None,
    grace: float = GRACE,
    hurry: trio.Event | None = None,
    lobby: Lobby | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until `stop` is set, then let calls in flight end and return.

    The listener listens already; it is closed here, at the start of the stop. busy: whether
    threads have work to do. grace: seconds for calls in flight; when they have passed,
    or `hurry` is set, calls are answered `unavailable`. Cancellation ends everything at
    once. lobby: where connections are entered, for who wants to look at them.
    """
    give_way = GiveWay(busy or _never)
    reactor = _Reactor(listener, dispatcher, give_way, lobby or Lobby(dispatcher))
    linger = Linger(reactor.has_events, give_way.busy)
    for instrument in (give_way, linger):
        trio.lowlevel.add_instrument(instrument)
    try:
        async with trio.open_nursery() as nursery:
            reactor.nursery = nursery
            nursery.start_soon(reactor.run)
            nursery.start_soon(reactor.run_flusher)
            task_status.started()
            await (stop if stop is not None else trio.Event()).wait()
            reactor.close_listener()
            await reactor.lobby.stop(grace, hurry)
            nursery.cancel_scope.cancel()
    finally:
        for instrument in (give_way, linger):
            trio.lowlevel.remove_instrument(instrument)
        reactor.close()


def _never() -> bool:
    return False


class _Peer:
    """A connection and its socket; the connection's Host."""

    __slots__ = ("_reactor", "connection", "fd", "interest", "sock")

    def __init__(self, reactor: _Reactor, sock: socket.socket) -> None:
        self._reactor = reactor
        self.sock = sock
        self.fd = sock.fileno()
        self.interest = select.EPOLLIN
        self.connection = Connection(
            reactor.dispatcher, self, reactor.lobby.new_id(), peer_of(sock)
        )

    def spawn(self, function: Callable[[], Awaitable[object]]) -> None:
        self._reactor.spawn(function)

    def touched(self) -> None:
        self._reactor.touch(self)


class _Reactor:
    def __init__(
        self,
        listener: socket.socket,
        dispatcher: Dispatcher,
        give_way: GiveWay,
        lobby: Lobby,
    ) -> None:
        self.dispatcher = dispatcher
        self.lobby = lobby
        self.nursery: trio.Nursery | None = None
        self._give_way = give_way
        self._listener = listener
        self._listener_fd = listener.fileno()
        self._listening = True
        self._peers: dict[int, _Peer] = {}
        self._touched: set[_Peer] = set()
        self._in_round = False
        self._flusher = trio.lowlevel.ParkingLot()
        self._room = ancillary_size(dispatcher.limits.descriptors)
        listener.setblocking(False)
        self._epoll = select.epoll()
        self._epoll.register(self._listener_fd, select.EPOLLIN)

    # --- tasks

    async def run(self) -> None:
        epoll = self._epoll
        descriptor = epoll.fileno()
        while True:
            await trio.lowlevel.wait_readable(descriptor)
            for _ in range(ROUNDS):
                events = epoll.poll(0)
                if not events:
                    break
                self._give_way()
                self._round(events)

    async def run_flusher(self) -> None:
        """Send what tasks have produced, all of one tick together."""
        while True:
            if not self._touched:
                await self._flusher.park()
            self._give_way()
            self._flush_touched()

    def has_events(self) -> bool:
        """Whether a socket is ready; takes nothing."""
        return bool(self._epoll.poll(0, 1))

    def spawn(self, function: Callable[[], Awaitable[object]]) -> None:
        if self.nursery is not None:
            self.nursery.start_soon(function)

    def touch(self, peer: _Peer) -> None:
        self._touched.add(peer)
        if self._in_round or after_settling(self._flush_touched):
            return
        if self._flusher:
            self._flusher.unpark()

    # --- one round

    def _round(self, events: list[tuple[int, int]]) -> None:
        self._in_round = True
        self.dispatcher.statistics.turn = time.perf_counter_ns()
        touched = self._touched
        for fd, mask in events:
            peer = self._peers.get(fd)
            if peer is not None:
                try:
                    if mask == select.EPOLLIN:
                        read_once(peer.sock, peer.connection, self._room, False)
                    else:
                        self._event(peer, mask)
                except Exception:  # one connection must never hurt another
                    log.exception("cutting %s", peer.connection.session.id)
                    peer.connection.lost()
                touched.add(peer)
            elif fd == self._listener_fd:
                self._accept()
        self._in_round = False
        self._flush_touched()

    def _event(self, peer: _Peer, mask: int) -> None:
        connection = peer.connection
        hung_up = bool(mask & (select.EPOLLHUP | select.EPOLLERR))
        if mask & select.EPOLLIN and connection.reading:
            read_once(peer.sock, connection, self._room, hung_up)
        elif hung_up:
            connection.lost()

    def _accept(self) -> None:
        for _ in range(64):
            try:
                sock, _address = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _OUT_OF_DESCRIPTORS:
                    raise
                log.warning("cannot accept connections for a moment: %s", error)
                self._epoll.unregister(self._listener_fd)
                self.spawn(self._accept_later)
                return
            sock.setblocking(False)
            if self.lobby.full:
                refuse(sock, self.lobby.refusal())
                continue
            peer = _Peer(self, sock)
            self._peers[peer.fd] = peer
            self._epoll.register(peer.fd, select.EPOLLIN)
            self.lobby.enter(peer.connection)

    async def _accept_later(self) -> None:
        await trio.sleep(ACCEPT_PAUSE)
        if self._listening:
            self._epoll.register(self._listener_fd, select.EPOLLIN)

    # --- output

    def _flush_touched(self) -> None:
        touched = self._touched
        if not touched:
            return
        self._touched = set()
        for peer in touched:
            if peer.fd >= 0:
                try:
                    self._flush(peer)
                except Exception:  # one connection must never hurt another
                    log.exception("cutting %s", peer.connection.session.id)
                    self._drop(peer)
        self.lobby.changed()

    def _flush(self, peer: _Peer) -> None:
        connection = peer.connection
        outbox = connection.outbox
        if outbox.size:
            send_some(peer.sock, connection)
            connection.flushed()
        if connection.open and peer.interest == select.EPOLLIN:
            return
        if connection.finished:
            self._drop(peer)
            return
        interest = select.EPOLLIN if connection.reading else 0
        if outbox.size:
            interest |= select.EPOLLOUT
        if interest != peer.interest:
            peer.interest = interest
            self._epoll.modify(peer.fd, interest)

    # --- the end

    def _drop(self, peer: _Peer) -> None:
        peer.connection.lost()
        self._peers.pop(peer.fd, None)
        if peer.fd >= 0:
            self._epoll.unregister(peer.fd)
            peer.fd = -1
        peer.sock.close()
        self.lobby.leave(peer.connection)

    def close_listener(self) -> None:
        if self._listening:
            self._listening = False
            with contextlib.suppress(FileNotFoundError):  # accepting pauses just now
                self._epoll.unregister(self._listener_fd)
            self._listener.close()

    def close(self) -> None:
        self.close_listener()
        for peer in list(self._peers.values()):
            self._drop(peer)
        self._epoll.close()
