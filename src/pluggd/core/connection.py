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

import dataclasses
import logging
from bisect import bisect_left
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter_ns
from typing import Any, Protocol, TypeGuard

import trio

from pluggd.core.calls import ActiveCall
from pluggd.core.dispatch import Dispatcher, Method, Prepared, Session, internal
from pluggd.core.outbox import Outbox, close_all
from pluggd.core.statistics import BOUNDS, MethodStatistics
from pluggd.errors import (
    Canceled,
    FailedPrecondition,
    InvalidArgument,
    PluggdError,
    ResourceExhausted,
    Unavailable,
    to_text,
)
from pluggd.services.call import Call, Peer, current_call
from pluggd.services.hello import Welcome
from pluggd.wire.decoder import Decoder
from pluggd.wire.encoder import (
    encode_error,
    encode_fds,
    encode_notification,
    encode_result,
)
from pluggd.wire.errors import LimitExceeded, Malformed, ProtocolError
from pluggd.wire.messages import (
    CANCEL,
    CREDIT,
    END,
    ERROR,
    ERROR_MAP,
    FDS,
    FDS_FEATURE,
    FEATURES,
    HELLO,
    ITEM,
    Message,
    Notification,
    Request,
)

log = logging.getLogger("pluggd.rpc")

LINGER = 5.0
"""Seconds that a peer has to read the last words before its connection is cut."""

STOPPING = "the daemon is stopping"


class Host(Protocol):
    """What a connection asks of the server that carries it."""

    def spawn(self, function: Callable[[], Awaitable[object]]) -> None:
        """Run a task beside the connection."""
        ...

    def touched(self) -> None:
        """The outbox, `reading` or `finished` changed outside of a call from the server."""
        ...


class Connection:
    """The state of one connection. The server calls `receive`, `flushed`, `end_of_input`
    and `lost`, and looks at `outbox`, `reading`, `takes_fds` and `finished`."""

    def __init__(
        self, dispatcher: Dispatcher, host: Host, id: str, peer: Peer | None
    ) -> None:
        self.outbox = Outbox()
        self.takes_fds = False
        self.calls: dict[int, ActiveCall] = {}
        self.session = Session(id, peer)
        self.statistics = dispatcher.statistics
        self._dispatcher = dispatcher
        self._limits = dispatcher.limits
        self._host = host
        self._decoder = Decoder(dispatcher.limits)
        self._backlog: deque[Message] = deque()
        self._as_map = False
        self._streams = 0
        self._fds: deque[int] = deque()
        self._claim: tuple[int, list[int]] | None = None
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
    def finished(self) -> bool:
        """Whether nothing is left to do: close the socket."""
        if self._dead:
            return True
        if self.outbox.size or self._backlog:
            return False
        return self._closing or (self._input_over and not self.calls)

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
            self._fds.extend(fds)
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
            self._fail(fault)
        elif self._fds and not self._decoder.pending and not self._backlog:
            close_all(self._fds)
            self._fds.clear()

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
        self._drop_fds()
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
            self._answer(call, self._error(call.msgid, Unavailable(STOPPING)))
            call.cancel(Unavailable(STOPPING))
        self._close()
        self._host.touched()

    # --- Line, for streams

    def send(self, data: bytes) -> None:
        """Put a message into the outbox from a task."""
        if self._dead:
            return
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
                self._notification(message)

    def _request(self, request: Request) -> None:
        fds: list[int] = []
        if self._claim is not None:
            msgid, fds = self._claim
            self._claim = None
            if msgid != request.msgid:
                close_all(fds)
                self._fail(Malformed(f"{FDS} named another request than the next"))
                return
        try:
            if self._stopping:
                raise Unavailable(STOPPING)
            prepared = self._dispatcher.prepare(request, self.session)
            method = prepared.method
            if method.inline and not fds:
                self.outbox.put(
                    encode_result(request.msgid, self._run_inline(prepared))
                )
                # As `_served`, but most requests end here, and a call costs as much.
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
                self._served(method.statistics)
            else:
                self._start(request.msgid, prepared, fds)
        except PluggdError as error:
            self._refuse(request, error)
        except Exception as error:  # noqa: BLE001 -- a plugin's bug must not end the server
            name = f"{self.session.id}.{request.msgid}"
            plugin = self._dispatcher.counters(request.method).plugin
            self._refuse(request, internal(request.method, name, error, plugin))
        finally:
            if fds:
                close_all(fds)

    def _run_inline(self, prepared: Prepared) -> bytes:
        method = prepared.method
        token = current_call.set(prepared.call)
        try:
            raw = method.encode(method.function(**prepared.arguments))
        finally:
            current_call.reset(token)
        self._dispatcher.check_size(method, raw)
        return raw

    def _error(self, msgid: int, error: PluggdError) -> bytes:
        return encode_error(msgid, error, as_map=self._as_map)

    def _served(self, method: MethodStatistics) -> None:
        """Count a request that was answered at once; the next one begins now."""
        now = perf_counter_ns()
        took = now - self.statistics.turn
        method.counts[bisect_left(BOUNDS, took)] += 1
        method.nanoseconds += took
        self.statistics.turn = now

    def _refuse(self, request: Request, error: PluggdError) -> None:
        self.statistics.errors[error.code] += 1
        counters = self._dispatcher.counters(request.method)
        counters.errors[error.code] += 1
        self._served(counters)
        log.debug("%s: %s", request.method, error)
        self.outbox.put(self._error(request.msgid, error))

    def _hello(self, *, client: str = "", features: Sequence[str] = ()) -> Welcome:
        agreed = [name for name in FEATURES if name in features]
        self._as_map = ERROR_MAP in agreed
        self.takes_fds = FDS_FEATURE in agreed
        log.debug("%s is %s, with %s", self.session.id, client, agreed)
        return Welcome(
            version=self._dispatcher.version,
            limits=dataclasses.asdict(self._limits),
            features=agreed,
        )

    # --- calls with a task

    def _start(self, msgid: int, prepared: Prepared, fds: list[int]) -> None:
        method = prepared.method
        limits = self._limits
        if msgid in self.calls:
            raise InvalidArgument(f"msgid {msgid} is still in use by a call in flight")
        if len(self.calls) >= limits.requests:
            raise ResourceExhausted(
                f"a connection may have {limits.requests} requests in flight"
            )
        if method.streams and self._streams >= limits.streams:
            raise ResourceExhausted(f"a connection may have {limits.streams} streams")
        if method.schema.result_fds and not self.takes_fds:
            raise FailedPrecondition(
                f"{method.name} passes a file descriptor; agree on the feature "
                f'"{FDS_FEATURE}" with {HELLO} first, or use a method that passes bytes'
            )
        if fds or method.schema.fds:
            self._claim_fds(method, prepared.arguments, fds)
        surroundings = prepared.call
        call = ActiveCall(
            self,
            msgid,
            method,
            prepared.arguments,
            # As dataclasses.replace would make it, in a third of the time.
            Call(
                namespace=surroundings.namespace,
                lease=surroundings.lease,
                peer=surroundings.peer,
                request=f"{self.session.id}.{msgid}",
                traceparent=surroundings.traceparent,
            ),
            prepared.timeout,
            self.statistics.turn,
        )
        self.calls[msgid] = call
        self._streams += method.streams
        self.statistics.streams += method.streams
        self.statistics.in_flight += 1
        method.statistics.in_flight += 1
        self._host.spawn(lambda: self._run(call))

    async def _run(self, call: ActiveCall) -> None:
        method = call.method
        # For the tree of tasks that SIGUSR1 asks for.
        task = trio.lowlevel.current_task()
        counters = method.statistics
        task.name = (
            f"{counters.plugin}: {method.name}, request {self.session.id}.{call.msgid}"
        )
        fds: tuple[int, ...] = ()
        try:
            try:
                result = await call.run()
                if method.schema.result_fds:
                    raw, fds = method.encode_with_fds(result)
                else:
                    raw = method.encode(result)
                self._dispatcher.check_size(method, raw)
            except PluggdError as error:
                self._answer_error(call, error)
            except Exception as error:  # noqa: BLE001 -- what a plugin returned cannot be encoded
                name = f"{self.session.id}.{call.msgid}"
                plugin = counters.plugin
                self._answer_error(call, internal(method.name, name, error, plugin))
            else:
                self._answer(call, encode_result(call.msgid, raw), fds)
                fds = ()
        finally:
            close_all(fds)
            took = perf_counter_ns() - call.begun
            counters.counts[bisect_left(BOUNDS, took)] += 1
            counters.nanoseconds += took
            counters.in_flight -= 1
            self.statistics.in_flight -= 1
            self.statistics.streams -= method.streams
            self._streams -= method.streams
            self.calls.pop(call.msgid, None)
            self._host.touched()

    def _answer_error(self, call: ActiveCall, error: PluggdError) -> None:
        self.statistics.errors[error.code] += 1
        call.method.statistics.errors[error.code] += 1
        log.debug("%s: %s", call.method.name, error)
        self._answer(call, self._error(call.msgid, error))

    def _answer(self, call: ActiveCall, data: bytes, fds: tuple[int, ...] = ()) -> None:
        if call.answered or self._dead:
            close_all(fds)
            return
        call.answered = True
        if fds:
            self.outbox.put_with(encode_fds(call.msgid, len(fds)) + data, fds)
        else:
            self.outbox.put(data)
        self._check_queue()
        self._host.touched()

    # --- notifications

    def _notification(self, message: Notification) -> None:
        name = message.method
        if not name.startswith("$/"):
            return
        try:
            if name == CREDIT:
                msgid, count = _ints(message, 2)
                if count < 0:
                    raise Malformed(f"{CREDIT} is negative")
                call = self.calls.get(msgid)
                if call is not None and call.outgoing is not None:
                    call.outgoing.add_credit(count)
            elif name == ITEM:
                self._item(message)
            elif name == END:
                call = self.calls.get(_ints(message, 1)[0])
                if call is not None and call.incoming is not None:
                    call.incoming.end()
            elif name == CANCEL:
                call = self.calls.get(_ints(message, 1)[0])
                if call is not None:
                    text = f"{call.method.name}: canceled by the caller"
                    call.cancel(Canceled(text))
            elif name == FDS:
                self._claimed(*_ints(message, 2))
        except ProtocolError as error:
            self._fail(error)

    def _item(self, message: Notification) -> None:
        params = message.params
        if not _is_list(params) or len(params) != 2 or type(params[0]) is not int:
            raise Malformed(f"{ITEM} is [msgid, value]")
        call = self.calls.get(params[0])
        if call is None or call.incoming is None:
            return  # the call may have ended while the item was on its way
        try:
            call.incoming.add(params[1], message.escaped)
        except PluggdError as error:
            call.cancel(error)

    # --- descriptors

    def _claimed(self, msgid: int, count: int) -> None:
        if self._claim is not None:
            raise Malformed(f"{FDS} twice before one message")
        if not 0 < count <= self._limits.descriptors:
            raise LimitExceeded(
                f"a message may carry {self._limits.descriptors} descriptors"
            )
        if len(self._fds) < count:
            raise Malformed(
                f"{FDS} announced {count} descriptors and {len(self._fds)} came"
            )
        self._claim = (msgid, [self._fds.popleft() for _ in range(count)])

    def _claim_fds(
        self, method: Method, arguments: dict[str, Any], fds: list[int]
    ) -> None:
        """Replace indexes by descriptors; those claimed are taken out of `fds`."""
        taken: set[int] = set()
        claims: dict[str, int] = {}
        for name in method.schema.fds:
            index = arguments.get(name)
            if index is None:
                continue
            if type(index) is not int or not 0 <= index < len(fds) or index in taken:
                raise InvalidArgument(
                    f'{method.name}: argument "{name}" is the index of a descriptor '
                    f"that comes with the request, of which there are {len(fds)}"
                )
            taken.add(index)
            claims[name] = index
        for name, index in claims.items():
            arguments[name] = fds[index]
        fds[:] = [fd for index, fd in enumerate(fds) if index not in taken]

    def _drop_fds(self) -> None:
        close_all(self._fds)
        self._fds.clear()
        if self._claim is not None:
            close_all(self._claim[1])
            self._claim = None

    # --- the end

    def fail(self, error: ProtocolError) -> None:
        """The server found a fault (truncated descriptors): tell the peer and close."""
        self._fail(error)

    def _fail(self, fault: ProtocolError) -> None:
        log.info("closing %s: %s", self.session.id, fault)
        self.statistics.errors[fault.code] += 1
        if fault.msgid is not None and fault.msgid not in self.calls:
            self.outbox.put(self._error(fault.msgid, fault.error))
        else:
            self.outbox.put(encode_notification(ERROR, [to_text(fault.error)]))
        for call in list(self.calls.values()):
            error = Canceled(f"{call.method.name}: the connection closed: {fault}")
            self._answer(call, self._error(call.msgid, error))
            call.cancel(error)
        self._close()

    def _close(self) -> None:
        if not self._closing:
            self._closing = True
            self._backlog.clear()
            self._drop_fds()
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


def _ints(message: Notification, count: int) -> list[int]:
    params = message.params
    if not _is_list(params) or len(params) != count:
        raise Malformed(f"{message.method} takes {count} integers")
    for value in params:
        if type(value) is not int:
            raise Malformed(f"{message.method} takes {count} integers")
    return params


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return type(value) is list
