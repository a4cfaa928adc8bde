# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Methods as they are served to a connection that agreed on timestamps.

Another face of the same method, made at its first call over such a connection: the
others never meet the question. What it answers are the bytes that they get, with the
times in them changed (`times`), so that a stored record may still leave as it lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from pluggd.core.arguments import Arguments, Item, Mismatch
from pluggd.core.calls import Line, SendStream
from pluggd.core.dispatch import Dispatcher, Method
from pluggd.core.times import Times
from pluggd.errors import InvalidArgument
from pluggd.model.record import Encoded, encode
from pluggd.services.rpc import Batch
from pluggd.services.schema import MethodSchema, Stream


def timed_method(dispatcher: Dispatcher, name: str) -> Method:
    """As `Dispatcher.method`; the same method when it has nothing to do with times."""
    method = dispatcher.method(name)
    if method.timed is None:
        method.timed = _timed(method)
    return method.timed


def _timed(method: Method) -> Method:
    schema = method.schema
    arguments = Times.of({p.name: p.type for p in schema.parameters})
    result = Times.of({schema.key: schema.result} if schema.key else schema.result)
    item = Times.of(schema.receives.item) if schema.receives is not None else None
    sent = Times.of(schema.sends.item) if schema.sends is not None else None
    if all(times is None for times in (arguments, result, item, sent)):
        return method
    timed = _TimedMethod(method, result)
    if arguments is not None:
        timed.arguments = _TimedArguments(schema, arguments)
    if schema.receives is not None and item is not None:
        timed.item = _TimedItem(schema.name, schema.receives.item, item)
    if sent is not None:
        timed.sender = partial(_TimedSendStream, sent)
    return timed


class _TimedMethod(Method):
    __slots__ = ("_times",)

    def __init__(self, method: Method, times: Times | None) -> None:
        super().__init__(
            method.schema, method.arguments, method.function, method.statistics
        )
        self.inline = method.inline
        self.deferred = method.deferred
        self._times = times

    def encode(self, result: Any) -> bytes:
        raw = super().encode(result)
        return raw if self._times is None else self._times.leave(raw)

    def encode_parts(self, result: Any) -> tuple[bytes, bytes]:
        if self._times is None:
            return super().encode_parts(result)
        return self.encode(result), b""

    def encode_with_fds(self, result: Any) -> tuple[bytes, tuple[int, ...]]:
        raw, fds = super().encode_with_fds(result)
        return raw if self._times is None else self._times.leave(raw), fds


class _TimedArguments(Arguments):
    def __init__(self, schema: MethodSchema, times: Times) -> None:
        super().__init__(schema)
        self._times = times

    def bind(self, data: object, *, escaped: bool = False) -> dict[str, Any]:
        data = self.require_map(data)
        try:
            self._times.enter(data)
        except Mismatch as error:
            text = error.describe("argument")
            raise InvalidArgument(f"{self._method}: {text}") from None
        return super().bind(data, escaped=escaped)


class _TimedItem(Item):
    def __init__(self, method: str, type_: Any, times: Times) -> None:
        super().__init__(method, type_)
        self._times = times

    def convert(self, value: object, *, escaped: bool = False) -> Any:
        try:
            value = self._times.enter(value)
        except Mismatch as error:
            text = error.describe("field")
            raise InvalidArgument(f"{self._method}: item: {text}") from None
        return super().convert(value, escaped=escaped)


class _TimedSendStream(SendStream):
    def __init__(self, times: Times, line: Line, msgid: int, schema: Stream) -> None:
        super().__init__(line, msgid, schema)
        self._times = times

    async def send(self, value: Any, /) -> None:
        await super().send(self._timed(value))

    async def send_many(self, values: Sequence[Encoded[Any]], /) -> None:
        await super().send_many([self._timed(value) for value in values])

    def send_now(self, batch: Batch, /) -> bool:
        return super().send_now(Batch([self._timed(item) for item in batch.items]))

    def _timed(self, value: Any) -> Encoded[Any]:
        raw: bytes = value.data if type(value) is Encoded else encode(value)
        return Encoded(self._times.leave(raw), object)
