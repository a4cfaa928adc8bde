# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""One connection of the trio client: messages and descriptors out and in.

Knows calls as numbers with a raw result; what the values mean is `stubs`' business.
A reader and a writer run as system tasks and not in a nursery around the user's
block, so that an error in that block comes out as itself and not in a group. They
catch all that can happen to a socket; a dead connection fails every call.
"""

from __future__ import annotations

import math
import os
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import trio

from pluggd.client.lost import ConnectionLost, connection_lost, reason
from pluggd.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotImplemented_,
    PluggdError,
)
from pluggd.wire.decoder import Decoder
from pluggd.wire.encoder import (
    encode_error,
    encode_fds,
    encode_notification,
    encode_request,
)
from pluggd.wire.errors import ProtocolError, error_from_wire
from pluggd.wire.limits import TRUSTING
from pluggd.wire.messages import (
    CANCEL,
    CREDIT,
    ERROR,
    FDS,
    FDS_FEATURE,
    ITEM,
    MAX_MSGID,
    Message,
    Notification,
    Request,
    Response,
)

READ = 1 << 18
_FLAGS = socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC


class Exchange:
    """A call that waits for its answer, as the connection sees it."""

    def __init__(self, msgid: int, credit: int) -> None:
        self.msgid = msgid
        self.answered = trio.Event()
        self.error: PluggdError | None = None
        self.result: Any = None
        self.fds: list[int] = []
        self.items_in, self.items = trio.open_memory_channel[Any](math.inf)
        self._credit = credit
        self._more = trio.lowlevel.ParkingLot()

    async def take_credit(self) -> None:
        """Wait until one more item may be sent."""
        while self._credit <= 0:
            await self._more.park()
        self._credit -= 1

    def add_credit(self, count: int) -> None:
        self._credit += count
        self._more.unpark_all()

    def answer(
        self, error: PluggdError | None, result: Any, fds: Sequence[int] = ()
    ) -> None:
        self.error, self.result, self.fds = error, result, list(fds)
        self.items_in.close()
        self.answered.set()

    def close_fds(self) -> None:
        """Close the descriptors that nobody took."""
        while self.fds:
            os.close(self.fds.pop())


class Connection:
    """A connected socket. `start` it, `close` it; not to be used in between by more than
    one trio run."""

    def __init__(self, sock: socket.socket, address: str) -> None:
        self.address = address
        self.features: frozenset[str] = frozenset()
        self._sock = sock
        self._decoder = Decoder(TRUSTING)
        self._exchanges: dict[int, Exchange] = {}
        self._last_id = -1
        self._in: deque[int] = deque()
        self._claim: tuple[int, list[int]] | None = None
        self._out: deque[tuple[bytes, list[int]]] = deque()
        self._to_write = trio.Event()
        self._lost: ConnectionLost | None = None
        self._last_words = ""
        self._scopes: list[trio.CancelScope] = []
        self._running = 0
        self._stopped = trio.Event()

    def start(self) -> None:
        for task in (self._read, self._write):
            scope = trio.CancelScope()
            self._scopes.append(scope)
            trio.lowlevel.spawn_system_task(self._run, task, scope)
        self._running = len(self._scopes)

    def peer(self) -> int:
        """The process at the other end when it was connected; 0 where that is not told."""
        size = struct.calcsize("3i")
        try:
            told = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        except (OSError, AttributeError):  # closed, or no Linux
            return 0
        pid: int = struct.unpack("3i", told)[0]
        return pid

    async def close(self) -> None:
        """Close; calls under way get ConnectionLost. Does not fail."""
        self._die("it was closed here")
        with trio.CancelScope(shield=True):
            await self._stopped.wait()

    async def closed(self) -> None:
        """Wait until the connection is no more, and raise ConnectionLost."""
        await self._stopped.wait()
        assert self._lost is not None  # nothing else stops both tasks
        raise self._lost

    # --- calls

    def begin(
        self,
        method: str,
        arguments: Mapping[str, Any],
        metadata: Mapping[str, Any],
        *,
        fds: Sequence[int] = (),
        credit: int = 0,
    ) -> Exchange:
        """Send a request. Raises ConnectionLost, FailedPrecondition (descriptors that
        were not agreed on), InvalidArgument (what cannot be sent)."""
        if self._lost is not None:
            raise self._lost
        if fds and FDS_FEATURE not in self.features:
            raise FailedPrecondition(
                f"{method}: the connection to {self.address} does not pass file "
                "descriptors: failed precondition"
            )
        msgid = self._next_id()
        try:
            data = encode_request(msgid, method, arguments, metadata)
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidArgument(
                f"{method}: arguments cannot be sent: {error}: invalid argument"
            ) from None
        exchange = self._exchanges[msgid] = Exchange(msgid, credit)
        if fds:
            # Copies, as the caller may close its own before they have left.
            self._send(encode_fds(msgid, len(fds)) + data, [os.dup(fd) for fd in fds])
        else:
            self._send(data)
        return exchange

    def cancel(self, exchange: Exchange) -> None:
        """Say that the answer is not wanted any more, and forget the call."""
        if self._exchanges.pop(exchange.msgid, None) is not None:
            self.notify(CANCEL, [exchange.msgid])
        exchange.close_fds()

    def notify(self, method: str, params: Sequence[object]) -> None:
        """Send a notification; to a dead connection, none."""
        if self._lost is None:
            self._send(encode_notification(method, params))

    def _next_id(self) -> int:
        while True:
            self._last_id = (self._last_id + 1) & MAX_MSGID
            if self._last_id not in self._exchanges:
                return self._last_id

    # --- out

    def _send(self, data: bytes, fds: list[int] | None = None) -> None:
        """Send now what the socket takes, and leave the rest to the writer."""
        if self._out:
            self._out.append((data, fds or []))
            return
        self._out.append((data, fds or []))
        self._push()
        if self._out:
            self._to_write.set()

    def _push(self) -> None:
        while self._out:
            data, fds = self._out[0]
            try:
                if fds:
                    sent = socket.send_fds(self._sock, [data], fds, socket.MSG_DONTWAIT)
                else:
                    sent = self._sock.send(data, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError as error:
                # What the daemon said before it went may still be there to read.
                self._last_words = self._last_words or reason(error)
                self._drop_output()
                return
            for fd in fds:
                os.close(fd)
            if sent == len(data):
                self._out.popleft()
            else:
                self._out[0] = (data[sent:], [])

    async def _write(self) -> None:
        while True:
            await self._to_write.wait()
            self._to_write = trio.Event()
            while self._out:
                await trio.lowlevel.wait_writable(self._sock)
                self._push()

    def _drop_output(self) -> None:
        for _, fds in self._out:
            for fd in fds:
                os.close(fd)
        self._out.clear()

    # --- in

    async def _read(self) -> None:
        room = socket.CMSG_SPACE(4 * TRUSTING.descriptors)
        while True:
            try:
                data, ancillary, flags, _ = self._sock.recvmsg(READ, room, _FLAGS)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._sock)
                continue
            for level, kind, payload in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    whole = len(payload) - len(payload) % 4
                    self._in.extend(memoryview(payload[:whole]).cast("i"))
            if flags & socket.MSG_CTRUNC:
                self._die("descriptors were truncated (is RLIMIT_NOFILE reached?)")
            if not data:
                self._die(self._last_words or "the other end closed it")
            if self._lost is not None:
                return
            for message in self._decoder.feed(data):
                self._handle(message)
            # A busy connection must not keep other tasks from running.
            await trio.lowlevel.cancel_shielded_checkpoint()

    def _handle(self, message: Message) -> None:
        if isinstance(message, Response):
            fds = self._claimed(message.msgid)
            exchange = self._exchanges.pop(message.msgid, None)
            if exchange is None:  # it was cancelled
                for fd in fds:
                    os.close(fd)
                return
            error = message.error
            exchange.answer(
                None if error is None else error_from_wire(error), message.result, fds
            )
        elif isinstance(message, Request):
            text = "this client serves no methods: not implemented"
            self._send(encode_error(message.msgid, NotImplemented_(text)))
        else:
            self._notification(message)

    def _notification(self, message: Notification) -> None:
        match message.method, message.params:
            case str(name), [int(msgid), item] if name == ITEM:
                if (exchange := self._exchanges.get(msgid)) is not None:
                    exchange.items_in.send_nowait(item)
            case str(name), [int(msgid), int(count)] if name == CREDIT:
                if (exchange := self._exchanges.get(msgid)) is not None:
                    exchange.add_credit(count)
            case str(name), [int(msgid), int(count)] if name == FDS:
                if count > len(self._in):
                    self._die("descriptors were announced and did not come")
                else:
                    self._claim = (msgid, [self._in.popleft() for _ in range(count)])
            case str(name), [str(text)] if name == ERROR:
                self._last_words = text
            case _:
                pass  # unknown notifications are ignored, as the specification says

    def _claimed(self, msgid: int) -> list[int]:
        if self._claim is None or self._claim[0] != msgid:
            return []
        _, fds = self._claim
        self._claim = None
        return fds

    # --- the end

    async def _run(
        self, task: Callable[[], Awaitable[None]], scope: trio.CancelScope
    ) -> None:
        try:
            with scope:
                await task()
        except (OSError, trio.ClosedResourceError) as error:
            self._die(reason(error) if isinstance(error, OSError) else str(error))
        except ProtocolError as error:
            self._die(f"the daemon sent {error}")
        finally:
            self._running -= 1
            if not self._running:
                self._stopped.set()

    def _die(self, why: str) -> None:
        if self._lost is not None:
            return
        self._lost = connection_lost(self.address, why)
        for scope in self._scopes:
            scope.cancel()
        self._drop_output()
        trio.lowlevel.notify_closing(self._sock)
        self._sock.close()
        for fd in (*self._in, *(self._claim[1] if self._claim else ())):
            os.close(fd)
        self._in.clear()
        self._claim = None
        for exchange in self._exchanges.values():
            exchange.answer(self._lost, None)
        self._exchanges.clear()
