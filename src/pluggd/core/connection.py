# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""One connection without its socket: bytes and descriptors in, an outbox out.

Both servers drive this object, so that what a client sees does not depend on which of
them it talks to. Methods that do not wait are run at once, in the order of their
requests; the others get a task. It never waits itself.

What a slow reader costs is bounded: over `Limits.queued` bytes no further message is
handled and streams wait, over `queued_max` the connection is closed.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter_ns

import trio

from pluggd.core.descriptors import Descriptors
from pluggd.core.dispatch import Dispatcher, Method, Session, internal
from pluggd.core.inflight import Host, InFlight
from pluggd.core.notifications import handle_notification
from pluggd.core.outbox import Outbox, close_all
from pluggd.core.statistics import BOUNDS
from pluggd.errors import (
    Canceled,
    PluggdError,
    ResourceExhausted,
    Unavailable,
    to_text,
)
from pluggd.services.call import Peer
from pluggd.services.hello import Welcome
from pluggd.services.rpc import Unfinished
from pluggd.struct import as_map
from pluggd.wire.decoder import Decoder
from pluggd.wire.encoder import encode_error, encode_notification, encode_result
from pluggd.wire.errors import Malformed, ProtocolError
from pluggd.wire.messages import (
    END,
    ERROR,
    ERROR_MAP,
    FDS_FEATURE,
    FEATURES,
    HELLO,
    TIMESTAMP,
    Message,
    Notification,
    Request,
)

log = logging.getLogger("pluggd.rpc")

LINGER = 5.0
"""Seconds that a peer has to read the last words before its connection is cut."""

STOPPING = "the daemon is stopping"


class Connection:
    """The state of one connection. The server calls `receive`, `flushed`, `end_of_input`
    and `lost`, and looks at `outbox`, `reading`, `takes_fds` and `finished`."""

    def __init__(
        self, dispatcher: Dispatcher, host: Host, id: str, peer: Peer | None
    ) -> None:
        self.outbox = Outbox()
        self.takes_fds = False
        self.session = Session(id, peer)
        self.statistics = dispatcher.statistics
        self.in_flight = InFlight(dispatcher, self, host)
        self.calls = self.in_flight.by_id
        self._dispatcher = dispatcher
        self._method: Callable[[str], Method] = dispatcher.method
        self._limits = dispatcher.limits
        self._host = host
        self._decoder = Decoder(dispatcher.limits)
        self._backlog: deque[Message] = deque()
        self._as_map = False
        self._fds = Descriptors(dispatcher.limits.descriptors)
        self._waiters = trio.lowlevel.ParkingLot()
        self._input_over = False
        self._closing = False
        self._dead = False
        self._stopping = False

    # --- what the server looks at

    @property
    def reading(self) -> bool:
        """Whether more input shall be read now."""
        return not (
            self._closing or self._input_over or self._backlog or self.congested
        )

    @property
    def unread(self) -> int:
        """Bytes of a message that is not complete yet."""
        return self._decoder.pending

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do: close the socket."""
        if self._dead:
            return True
        if self.outbox.size or self._backlog:
            return False
        return self._closing or (self._input_over and not self.calls)

    @property
    def open(self) -> bool:
        """Whether it only waits for more input, as most do at the end of a round: it is
        `reading` and not `finished`."""
        return not (
            self.outbox.size
            or self._backlog
            or self._closing
            or self._input_over
            or self._dead
        )

    @property
    def congested(self) -> bool:
        return self.outbox.size > self._limits.queued

    # --- what the server tells

    def receive(self, data: bytes, fds: Sequence[int] = ()) -> None:
        """Take input. Whatever is wrong with it becomes an answer.

        The server has set `statistics.turn` before it began to read.
        """
        if self._closing or self._dead:
            close_all(fds)
            return
        self.statistics.bytes_in += len(data)
        if fds:
            self._fds.add(fds)
        try:
            messages = self._decoder.feed(data)
            fault = None
        except ProtocolError as error:
            messages = error.messages
            fault = error
        if self._backlog:
            self._backlog.extend(messages)
        else:
            self._handle_all(messages)
        if fault is not None and not self._closing:
            self.fail(fault)
        elif not self._decoder.pending and not self._backlog:
            self._fds.drop_loose()

    def flushed(self) -> None:
        """Some output has left."""
        if 2 * self.outbox.size > self._limits.queued or self._dead:
            return
        if self._waiters:
            self._waiters.unpark_all()
        if self._backlog:
            backlog = list(self._backlog)
            self._backlog.clear()
            self.statistics.turn = perf_counter_ns()
            self._handle_all(backlog)

    def end_of_input(self) -> None:
        """The peer sends no more, but may still read: calls in flight are answered."""
        self._input_over = True
        for call in self.calls.values():
            if call.incoming is not None and not call.incoming.ended:
                text = f"{call.method.name}: the input ended without {END}"
                call.cancel(Canceled(text))

    def lost(self) -> None:
        """The peer is gone: its calls are cancelled and nothing is sent any more."""
        if self._dead:
            return
        self._dead = True
        self._closing = True
        for call in list(self.calls.values()):
            call.cancel(Canceled(f"{call.method.name}: the connection closed"))
        self._waiters.unpark_all()
        self._backlog.clear()
        self._fds.close()
        self.outbox.clear()

    # --- stop

    def stop(self) -> None:
        """Refuse new calls; those in flight go on, except those that wait for what may
        never come."""
        self._stopping = True
        for call in list(self.calls.values()):
            if call.method.schema.waits:
                call.cancel(Unavailable(STOPPING))

    def abandon(self) -> None:
        """Answer what is still in flight and close."""
        for call in list(self.calls.values()):
            self.in_flight.abandon(call, Unavailable(STOPPING))
        self._close()
        self._host.touched()

    # --- Owner, for calls and their streams

    def answer(self, data: bytes, fds: tuple[int, ...] = (), tail: bytes = b"") -> None:
        """Put the response of a call in flight into the outbox."""
        if self._dead:
            close_all(fds)
            return
        if fds:
            self.outbox.put_with(data, fds)
        elif tail:
            self.outbox.put_large(data, tail)
        else:
            self.outbox.put(data)
        self._check_queue()
        self._host.touched()

    def error(self, msgid: int, error: PluggdError) -> bytes:
        return encode_error(msgid, error, as_map=self._as_map)

    def send(self, data: bytes, tail: bytes | memoryview = b"") -> None:
        """Put a message into the outbox from a task."""
        if self._dead:
            return
        if tail:
            self.outbox.put_large(data, tail)
        else:
            self.outbox.put(data)
        self._check_queue()
        self._host.touched()

    async def drained(self) -> None:
        await self._waiters.park()

    # --- messages

    def _handle_all(self, messages: list[Message]) -> None:
        queued = self._limits.queued
        for position, message in enumerate(messages):
            if self._closing:
                return
            if self.outbox.size > queued:
                self._backlog.extend(messages[position:])
                return
            if type(message) is Request:
                self._request(message)
            elif type(message) is Notification:
                try:
                    handle_notification(message, self.calls, self._fds)
                except ProtocolError as fault:
                    self.fail(fault)

    def _request(self, request: Request) -> None:
        fds: list[int] = []
        if self._fds.claimed:
            try:
                fds = self._fds.take(request.msgid)
            except Malformed as fault:
                self.fail(fault)
                return
        try:
            if self._stopping:
                raise Unavailable(STOPPING)
            method = self._method(request.method)
            prepared = self._dispatcher.prepare(method, request, self.session)
            if method.inline:
                raw = self._dispatcher.run_inline(prepared)
                if isinstance(raw, Unfinished):
                    self.in_flight.start(request.msgid, prepared, [], raw)
                    return
                self.outbox.put(encode_result(request.msgid, raw))
                # As `served`, but most requests end here, and a call costs as much.
                counters = method.statistics
                statistics = self.statistics
                now = perf_counter_ns()
                took = now - statistics.turn
                counters.counts[bisect_left(BOUNDS, took)] += 1
                counters.nanoseconds += took
                statistics.turn = now
            elif method.name == HELLO:
                welcome = self._hello(**prepared.arguments)
                self.outbox.put(encode_result(request.msgid, method.encode(welcome)))
                self.statistics.served(method.statistics)
            elif method.deferred:
                self.in_flight.defer(request.msgid, prepared)
            else:
                self.in_flight.start(request.msgid, prepared, fds)
        except PluggdError as error:
            self._refuse(request, error)
        except Exception as error:  # noqa: BLE001 -- a plugin's bug must not end the server
            name = f"{self.session.id}.{request.msgid}"
            plugin = self._dispatcher.counters(request.method).plugin
            self._refuse(request, internal(request.method, name, error, plugin))
        finally:
            if fds:
                close_all(fds)

    def _refuse(self, request: Request, error: PluggdError) -> None:
        self.statistics.errors[error.code] += 1
        counters = self._dispatcher.counters(request.method)
        counters.errors[error.code] += 1
        self.statistics.served(counters)
        log.debug("%s: %s", request.method, error)
        self.outbox.put(self.error(request.msgid, error))

    def _hello(self, *, client: str = "", features: Sequence[str] = ()) -> Welcome:
        agreed = [name for name in FEATURES if name in features]
        self._as_map = ERROR_MAP in agreed
        self.takes_fds = FDS_FEATURE in agreed
        self._method = self._dispatcher.method
        if TIMESTAMP in agreed:
            from pluggd.core.timed import timed_method  # few ask for it

            self._method = partial(timed_method, self._dispatcher)
        log.debug("%s is %s, with %s", self.session.id, client, agreed)
        return Welcome(
            version=self._dispatcher.version,
            limits=as_map(self._limits),
            features=agreed,
        )

    # --- the end

    def fail(self, fault: ProtocolError) -> None:
        """Tell the peer and close: the input, or the server, found a fault."""
        log.info("closing %s: %s", self.session.id, fault)
        self.statistics.errors[fault.code] += 1
        if fault.msgid is not None and fault.msgid not in self.calls:
            self.outbox.put(self.error(fault.msgid, fault.error))
        else:
            self.outbox.put(encode_notification(ERROR, [to_text(fault.error)]))
        for call in list(self.calls.values()):
            error = Canceled(f"{call.method.name}: the connection closed: {fault}")
            self.in_flight.abandon(call, error)
        self._close()

    def _close(self) -> None:
        if not self._closing:
            self._closing = True
            self._backlog.clear()
            self._fds.close()
            self._host.spawn(self._linger)

    async def _linger(self) -> None:
        with trio.move_on_after(LINGER):
            while self.outbox.size and not self._dead:
                await self._waiters.park()
        if not self._dead and self.outbox.size:
            log.info("%s does not read its last answers: cut", self.session.id)
        self.lost()
        self._host.touched()

    def _check_queue(self) -> None:
        if self.outbox.size > self._limits.queued_max:
            log.warning(
                "closing %s: resource_exhausted: %d bytes wait for it to read",
                self.session.id,
                self.outbox.size,
            )
            self.statistics.errors[ResourceExhausted.code] += 1
            self.lost()
