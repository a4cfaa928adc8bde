# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The calls of one connection that are not answered at once.

They are started here, counted against the limits, found by their number when
something comes for them, and answered here, each exactly once. There are two kinds:
those with a task, and deferred ones, for which somebody else's work is waited for.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Coroutine
from time import perf_counter_ns
from typing import Any, Protocol

import trio

from pluggd.core.calls import ActiveCall, Line, ReceiveStream, SendStream, overdue
from pluggd.core.descriptors import bind
from pluggd.core.dispatch import Dispatcher, Method, Prepared, Session, internal
from pluggd.core.outbox import close_all
from pluggd.core.statistics import BOUNDS
from pluggd.deferred import Deferred
from pluggd.errors import (
    Canceled,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    PluggdError,
    ResourceExhausted,
)
from pluggd.services.call import Call, current_call
from pluggd.services.rpc import Unfinished
from pluggd.wire.encoder import encode_fds, encode_result
from pluggd.wire.messages import FDS_FEATURE, HELLO

log = logging.getLogger("pluggd.rpc")


class Host(Protocol):
    """What a connection asks of the server that carries it."""

    def spawn(self, function: Callable[[], Awaitable[object]]) -> None:
        """Run a task beside the connection."""
        ...

    def touched(self) -> None:
        """The outbox, `reading` or `finished` changed outside of a call from the server."""
        ...


class Owner(Line, Protocol):
    """What the calls need of their connection."""

    session: Session
    takes_fds: bool

    def answer(self, data: bytes, fds: tuple[int, ...], tail: bytes) -> None:
        """Send a response, now or soon; the descriptors are given away. tail: the last
        bytes of it, where they are many; a response with descriptors has none."""
        ...

    def error(self, msgid: int, error: PluggdError) -> bytes:
        """A response with an error, in the form that the peer agreed to."""
        ...


class DeferredCall:
    """A call whose method handed its work on."""

    __slots__ = ("_calls", "_watch", "answered", "begun", "method", "msgid", "over")

    incoming: ReceiveStream | None = None
    outgoing: SendStream | None = None

    def __init__(self, calls: InFlight, msgid: int, method: Method, begun: int) -> None:
        """begun: when it arrived, of `time.perf_counter_ns`."""
        self._calls = calls
        self.begun = begun
        self._watch: trio.CancelScope | None = None
        self.msgid = msgid
        self.method = method
        self.answered = False
        self.over = False

    def cancel(self, reason: PluggdError) -> None:
        """Answer with this error, unless there is an outcome. What was begun goes on."""
        if not self.over:
            self._calls.refuse(self, reason)
            self.end()

    def done(self, deferred: Deferred[Any]) -> None:
        """Answer with the outcome, unless it was given up."""
        if self.over:
            return
        method = self.method
        try:
            raw, tail = self._calls.encoded(method, deferred.result())
        except PluggdError as error:
            self._calls.refuse(self, error)
        except Exception as error:  # noqa: BLE001 -- a plugin's bug is one call's error
            self._calls.failed(self, error)
        else:
            self._calls.answer(self, encode_result(self.msgid, raw), (), tail)
        self.end()

    def end(self) -> None:
        self.over = True
        self._calls.forget(self)
        if self._watch is not None:
            self._watch.cancel()

    async def expire(self, timeout: float) -> None:
        """End it after `timeout` seconds."""
        if self.over:
            return
        with trio.CancelScope() as self._watch:
            await trio.sleep(timeout)
            self.cancel(DeadlineExceeded(overdue(self.method, timeout)))


class InFlight:
    """The calls under way on one connection, by their number."""

    __slots__ = (
        "_dispatcher",
        "_host",
        "_limits",
        "_owner",
        "_statistics",
        "_streams",
        "by_id",
    )

    def __init__(self, dispatcher: Dispatcher, owner: Owner, host: Host) -> None:
        self.by_id: dict[int, ActiveCall | DeferredCall] = {}
        self._dispatcher = dispatcher
        self._limits = dispatcher.limits
        self._statistics = dispatcher.statistics
        self._owner = owner
        self._host = host
        self._streams = 0

    def start(
        self,
        msgid: int,
        prepared: Prepared,
        fds: list[int],
        rest: Unfinished[Any] | None = None,
    ) -> None:
        """Run a method as a task; the descriptors that it claims are taken out of `fds`.

        rest: what is left to do of an inline one. Raises the PluggdError to answer with.
        """
        method = prepared.method
        limits = self._limits
        self._check(msgid)
        if method.streams and self._streams >= limits.streams:
            raise ResourceExhausted(f"a connection may have {limits.streams} streams")
        if method.schema.result_fds and not self._owner.takes_fds:
            raise FailedPrecondition(
                f"{method.name} passes a file descriptor; agree on the feature "
                f'"{FDS_FEATURE}" with {HELLO} first, or use a method that passes bytes'
            )
        if fds or method.schema.fds:
            bind(method, prepared.arguments, fds)
        surroundings = prepared.call
        call = ActiveCall(
            self._owner,
            msgid,
            method,
            prepared.arguments,
            # As `replace` would make it, in a third of the time.
            Call(
                namespace=surroundings.namespace,
                lease=surroundings.lease,
                peer=surroundings.peer,
                request=self._name(msgid),
                traceparent=surroundings.traceparent,
            ),
            prepared.timeout,
            self._statistics.turn,
            rest,
        )
        self._streams += method.streams
        self._statistics.streams += method.streams
        self._enter(call)
        self._host.spawn(lambda: self._run(call))

    def defer(self, msgid: int, prepared: Prepared) -> None:
        """Call a deferred method, and answer when its outcome is there; one that returns
        a coroutine goes on as a task.

        Raises the PluggdError to answer with, and what the method raises.
        """
        self._check(msgid)
        method = prepared.method
        token = current_call.set(prepared.call)
        try:
            deferred: Deferred[Any] | Coroutine[Any, Any, Any] = method.function(
                **prepared.arguments
            )
        finally:
            current_call.reset(token)
        if isinstance(deferred, Coroutine):
            rest = deferred
            try:
                self.start(msgid, prepared, [], Unfinished(lambda: rest))
            except BaseException:
                rest.close()
                raise
            return
        call = DeferredCall(self, msgid, method, self._statistics.turn)
        self._enter(call)
        deferred.then(call.done)
        timeout = prepared.timeout
        if timeout is not None and not call.over:
            self._host.spawn(lambda: call.expire(timeout))

    def _check(self, msgid: int) -> None:
        if msgid in self.by_id:
            raise InvalidArgument(f"msgid {msgid} is still in use by a call in flight")
        if len(self.by_id) >= self._limits.requests:
            raise ResourceExhausted(
                f"a connection may have {self._limits.requests} requests in flight"
            )

    def _enter(self, call: ActiveCall | DeferredCall) -> None:
        self.by_id[call.msgid] = call
        self._statistics.in_flight += 1
        call.method.statistics.in_flight += 1

    async def _run(self, call: ActiveCall) -> None:
        method = call.method
        # For the tree of tasks that SIGUSR1 asks for.
        task = trio.lowlevel.current_task()
        plugin = method.statistics.plugin
        task.name = f"{plugin}: {method.name}, request {self._name(call.msgid)}"
        fds: tuple[int, ...] = ()
        tail = b""
        try:
            try:
                result = await call.run()
                if method.schema.result_fds:
                    raw, fds = method.encode_with_fds(result)
                    self._dispatcher.check_size(method, len(raw))
                else:
                    raw, tail = self.encoded(method, result)
            except PluggdError as error:
                self.refuse(call, error)
            except Exception as error:  # noqa: BLE001 -- what a plugin returned cannot be encoded
                self.failed(call, error)
            else:
                self.answer(call, encode_result(call.msgid, raw), fds, tail)
                fds = ()
        finally:
            close_all(fds)
            self._streams -= method.streams
            self._statistics.streams -= method.streams
            self.forget(call)

    def _name(self, msgid: int) -> str:
        return f"{self._owner.session.id}.{msgid}"

    # --- outcomes

    def encoded(self, method: Method, result: Any) -> tuple[bytes, bytes]:
        """As `Method.encode_parts`. Raises ResourceExhausted when they are too many."""
        raw, tail = method.encode_parts(result)
        self._dispatcher.check_size(method, len(raw) + len(tail))
        return raw, tail

    def answer(
        self,
        call: ActiveCall | DeferredCall,
        data: bytes,
        fds: tuple[int, ...] = (),
        tail: bytes = b"",
    ) -> None:
        """Send the response, unless there was one. The descriptors are given away."""
        if call.answered:
            close_all(fds)
            return
        call.answered = True
        if fds:
            data = encode_fds(call.msgid, len(fds)) + data
        self._owner.answer(data, fds, tail)

    def refuse(self, call: ActiveCall | DeferredCall, error: PluggdError) -> None:
        """Answer with an error."""
        # Who had enough of what may never end has met no error.
        if not (call.method.schema.waits and isinstance(error, Canceled)):
            self._statistics.errors[error.code] += 1
            call.method.statistics.errors[error.code] += 1
        log.debug("%s: %s", call.method.name, error)
        self.answer(call, self._owner.error(call.msgid, error))

    def failed(self, call: ActiveCall | DeferredCall, error: Exception) -> None:
        """Answer a call that met a bug."""
        method = call.method
        name = self._name(call.msgid)
        self.refuse(call, internal(method.name, name, error, method.statistics.plugin))

    def forget(self, call: ActiveCall | DeferredCall) -> None:
        """It is over."""
        counters = call.method.statistics
        took = perf_counter_ns() - call.begun
        counters.counts[bisect_left(BOUNDS, took)] += 1
        counters.nanoseconds += took
        counters.in_flight -= 1
        self._statistics.in_flight -= 1
        self.by_id.pop(call.msgid, None)
        self._host.touched()

    def abandon(self, call: ActiveCall | DeferredCall, error: PluggdError) -> None:
        """Answer with this error at once, and let the call end by it."""
        self.answer(call, self._owner.error(call.msgid, error))
        call.cancel(error)
