# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A call that waits: its task, its streams, and how it ends.

Whatever happens, a call has one outcome: a result, or one error. Who cancels it says
why, and that is the error; without a word it was the deadline. The connection
is known only as somebody who takes bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import trio

from pluggd.core.dispatch import Method, internal
from pluggd.errors import (
    DeadlineExceeded,
    InvalidArgument,
    PluggdError,
    ResourceExhausted,
)
from pluggd.model.record import Encoded, encode
from pluggd.services.call import Call, current_call
from pluggd.services.rpc import Batch, Unfinished
from pluggd.services.schema import Stream
from pluggd.wire.encoder import LARGE, bytes_header, encode_credit, encode_item

MAX_CREDIT = 2**31

PIECE = 64 * 1024
"""Bytes of items after which `send_many` looks at the queue again."""


class Line(Protocol):
    """What a stream needs of its connection."""

    @property
    def congested(self) -> bool:
        """Whether the peer is behind and streams shall wait."""
        ...

    async def drained(self) -> None:
        """Wait until it is not."""
        ...

    def send(self, data: bytes, tail: bytes | memoryview = b"") -> None:
        """Send a message. tail: the last bytes of it, where they are many: they are not
        copied and must not change."""
        ...


class SendStream:
    """`Send` for a method: items leave when the caller has given credit."""

    def __init__(self, line: Line, msgid: int, schema: Stream) -> None:
        self._line = line
        self._head = encode_item(msgid, b"")
        self._credit = schema.credit
        self._chunk = schema.chunk
        self._closed = False
        self._lot = trio.lowlevel.ParkingLot()

    async def send(self, value: Any, /) -> None:
        """Send one item; bytes beyond the size of a chunk go as several, and many of
        them without a copy.

        Raises trio.BrokenResourceError when the call is over.
        """
        if type(value) is Encoded:
            await self._send(value.data)  # pyright: ignore[reportUnknownMemberType]
        elif self._chunk and len(value) >= min(LARGE, self._chunk + 1):
            # What others may change is copied.
            view = memoryview(value if type(value) is bytes else bytes(value))
            for start in range(0, len(view), self._chunk):
                item = view[start : start + self._chunk]
                if len(item) >= LARGE:
                    await self._send(bytes_header(len(item)), item)
                else:
                    await self._send(encode(item))
        else:
            await self._send(encode(value))

    async def send_many(self, values: Sequence[Encoded[Any]], /) -> None:
        """As `send` of each, with one message for as many as credit and `PIECE` allow.

        Every event goes this way to every subscriber.
        """
        position = 0
        while position < len(values):
            await trio.lowlevel.checkpoint_if_cancelled()
            await self._room()
            piece: list[bytes] = []
            size = count = 0
            for value in values[position : position + self._credit]:
                piece += (self._head, value.data)
                count += 1
                size += len(value.data)
                if size >= PIECE:
                    break
            position += count
            self._credit -= count
            self._line.send(b"".join(piece))

    def send_now(self, batch: Batch, /) -> bool:
        """Send all of these at once, or none of them."""
        count = len(batch.items)
        if (
            self._closed
            or self._credit < count
            or batch.size > PIECE
            or self._line.congested
        ):
            return False
        self._credit -= count
        self._line.send(batch.framed(self._head))
        return True

    async def _send(self, raw: bytes, tail: bytes | memoryview = b"") -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        await self._room()
        self._credit -= 1
        self._line.send(self._head + raw, tail)

    async def _room(self) -> None:
        """Wait until one more item may be sent."""
        while True:
            if self._closed:
                raise trio.BrokenResourceError("the caller is gone")
            if self._credit <= 0:
                await self._lot.park()
            elif self._line.congested:
                await self._line.drained()
            else:
                return

    def add_credit(self, count: int) -> None:
        self._credit = min(self._credit + count, MAX_CREDIT)
        self._lot.unpark_all()

    def close(self) -> None:
        self._closed = True
        self._lot.unpark_all()


class ReceiveStream:
    """`Receive` for a method: an async iterator over what the caller sends.

    Credit goes back to the caller as the method takes items, in halves of the first.
    """

    def __init__(
        self,
        line: Line,
        msgid: int,
        schema: Stream,
        convert: Callable[[object, bool], Any],
    ) -> None:
        self._line = line
        self._msgid = msgid
        self._batch = max(schema.credit // 2, 1)
        self._allowed = schema.credit
        self._chunk = schema.chunk
        self._convert = convert
        self._items: deque[tuple[object, bool]] = deque()
        self._taken = 0
        self._ended = False
        self._closed = False
        self._lot = trio.lowlevel.ParkingLot()

    def __aiter__(self) -> ReceiveStream:
        return self

    async def __anext__(self) -> Any:
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._items:
            if self._closed:
                raise trio.BrokenResourceError("the caller is gone")
            if self._ended:
                raise StopAsyncIteration
            await self._lot.park()
        value, escaped = self._items.popleft()
        self._taken += 1
        if self._taken >= self._batch and not self._ended:
            self._allowed += self._taken
            self._line.send(encode_credit(self._msgid, self._taken))
            self._taken = 0
        item = self._convert(value, escaped)
        if self._chunk and len(item) > self._chunk:
            raise InvalidArgument(
                f"an item of this stream has at most {self._chunk} bytes, "
                f"not {len(item)}"
            )
        return item

    def add(self, value: object, escaped: bool) -> None:
        """An item came. Raises ResourceExhausted for one without credit."""
        if self._ended:
            raise InvalidArgument("an item after the end of the stream")
        if self._allowed <= 0:
            raise ResourceExhausted("an item was sent without credit")
        self._allowed -= 1
        self._items.append((value, escaped))
        self._lot.unpark()

    @property
    def ended(self) -> bool:
        return self._ended

    def end(self) -> None:
        """The caller has no more items; those that came are still taken."""
        self._ended = True
        self._lot.unpark_all()

    def close(self) -> None:
        self._closed = True
        self._items.clear()
        self._lot.unpark_all()


def overdue(method: Method, timeout: float | None) -> str:
    """What is said of a call whose deadline has passed."""
    return f"{method.name}: not done within the timeout of {timeout:g} s"


class ActiveCall:
    """One call of an async method, from its start to its outcome."""

    def __init__(
        self,
        line: Line,
        msgid: int,
        method: Method,
        arguments: dict[str, Any],
        call: Call,
        timeout: float | None,
        begun: int,
        rest: Unfinished[Any] | None = None,
    ) -> None:
        """begun: when it arrived, of `time.perf_counter_ns`. rest: what is left to do of
        an inline method."""
        self.msgid = msgid
        self.method = method
        self.answered = False
        self._arguments = arguments
        self._rest = rest
        self._call = call
        self._timeout = timeout
        self.begun = begun
        self._reason: PluggdError | None = None
        self._scope = trio.CancelScope()
        if timeout is not None:
            self._scope.deadline = trio.current_time() + timeout
        self.outgoing: SendStream | None = None
        self.incoming: ReceiveStream | None = None
        schema = method.schema
        if schema.sends is not None:
            sender = method.sender or SendStream
            self.outgoing = sender(line, msgid, schema.sends)
            arguments[schema.sends.attribute] = self.outgoing
        if schema.receives is not None and method.item is not None:
            item = method.item
            self.incoming = ReceiveStream(
                line,
                msgid,
                schema.receives,
                lambda value, escaped: item.convert(value, escaped=escaped),
            )
            arguments[schema.receives.attribute] = self.incoming

    def cancel(self, reason: PluggdError) -> None:
        """End the call with this error, unless it has an outcome or a reason already."""
        if self._reason is None:
            self._reason = reason
        self._scope.cancel()

    async def run(self) -> Any:
        """The method's result. Raises the PluggdError to answer with."""
        current_call.set(self._call)
        failure: BaseExceptionGroup[Exception] | None = None
        result: Any = None
        try:
            with self._scope:
                if self._rest is not None:
                    result = await self._rest.finish()
                else:
                    result = await self.method.function(**self._arguments)
        except* Exception as group:  # noqa: BLE001 -- a plugin's bug is one call's error
            failure = group
        finally:
            for stream in (self.outgoing, self.incoming):
                if stream is not None:
                    stream.close()
        if failure is not None:
            raise self._error_of(failure)
        if self._scope.cancelled_caught:
            raise self._reason or DeadlineExceeded(overdue(self.method, self._timeout))
        return result

    def _error_of(self, group: BaseExceptionGroup[Exception]) -> PluggdError:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
            error = error.exceptions[0]  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        if isinstance(error, PluggdError):
            return error
        if isinstance(error, trio.BrokenResourceError) and self._reason is not None:
            return self._reason
        plugin = self.method.statistics.plugin
        return internal(self.method.name, self._call.request, error, plugin)  # pyright: ignore[reportUnknownArgumentType]
