# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Services over a connection, made from the same schema as the dispatcher's.

One generic implementation for all methods of all kinds, an operator's own included:
arguments to plain values, streams pumped with credit, descriptors put beside the
message, the result back to its record. What a method means is not known here.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

import trio

from pluggd.client.connection import Connection, Exchange
from pluggd.client.plain import is_map
from pluggd.errors import Internal, InvalidArgument
from pluggd.model.record import Encoded, convert, encode, to_plain
from pluggd.services.call import current_call
from pluggd.services.kind import Kind
from pluggd.services.schema import MethodSchema, Stream, service_schema
from pluggd.wire.messages import CREDIT, END, ITEM

T = TypeVar("T")


class Stub:
    """Holds a service's methods as attributes."""

    def __init__(self, kind: Kind[Any], methods: Mapping[str, Any]) -> None:
        self._kind = kind
        self.__dict__.update(methods)

    def __repr__(self) -> str:
        return f"<stub of {self._kind.name}>"


def make_stub(kind: Kind[T], connection: Callable[[], Connection], namespace: str) -> T:
    """The service as its Protocol says. connection: gives the one to use, at each call.
    Raises TypeError for a kind that serves nothing."""
    schema = service_schema(kind)
    if not schema.methods:
        raise TypeError(f"{kind.name} declares no method with @rpc, so none is served")
    interface: Any = kind.interface
    methods = {
        method.attribute: _method(
            method, getattr(interface, method.attribute), connection, namespace
        )
        for method in schema.methods
    }
    # The methods were made from that very Protocol, which no type checker can see.
    return cast(T, Stub(kind, methods))


def _method(
    schema: MethodSchema,
    declared: Any,
    connection: Callable[[], Connection],
    namespace: str,
) -> Callable[..., Awaitable[Any]]:
    encoded = _sends_encoded(schema, declared)

    async def method(**arguments: Any) -> Any:
        call = Call(schema, connection(), arguments, namespace, encoded)
        return await call.run()

    method.__name__ = schema.attribute
    method.__qualname__ = schema.name
    method.__doc__ = schema.doc
    return method


def _sends_encoded(schema: MethodSchema, declared: Any) -> bool:
    """Whether the Protocol wants its items as `Encoded`, as it does in process."""
    if schema.sends is None:
        return False
    item = get_args(get_type_hints(declared)[schema.sends.attribute])[0]
    return get_origin(item) is Encoded


class Call:
    """One call of one method."""

    def __init__(
        self,
        schema: MethodSchema,
        connection: Connection,
        arguments: dict[str, Any],
        namespace: str,
        encoded: bool,
    ) -> None:
        self._schema = schema
        self._connection = connection
        self._namespace = namespace
        self._encoded = encoded
        self._source = self._stream_of(schema.receives, arguments)
        self._out = self._stream_of(schema.sends, arguments)
        self._fds: list[int] = []
        self._arguments = self._bind(arguments)
        self._failure: BaseException | None = None

    async def run(self) -> Any:
        """The result. Cancelling cancels the call at the daemon too."""
        await trio.lowlevel.checkpoint_if_cancelled()
        schema = self._schema
        credit = schema.receives.credit if schema.receives else 0
        exchange = self._connection.begin(
            schema.name, self._arguments, self._metadata(), fds=self._fds, credit=credit
        )
        try:
            if self._source is None and self._out is None:
                await exchange.answered.wait()
            else:
                await self._pump(exchange)
        except BaseException:
            self._connection.cancel(exchange)
            raise
        if exchange.error is not None:
            raise exchange.error
        try:
            return self._result(exchange)
        finally:
            exchange.close_fds()

    def _metadata(self) -> dict[str, Any]:
        surroundings = current_call.get()
        given = {
            "namespace": surroundings.namespace or self._namespace,
            "lease": surroundings.lease,
            "traceparent": surroundings.traceparent,
        }
        metadata: dict[str, Any] = {key: text for key, text in given.items() if text}
        remaining = trio.current_effective_deadline() - trio.current_time()
        if math.isfinite(remaining):
            metadata["timeout"] = max(remaining, 0.001)
        return metadata

    # --- arguments and results

    def _stream_of(self, stream: Stream | None, arguments: dict[str, Any]) -> Any:
        if stream is None:
            return None
        if stream.attribute not in arguments:
            raise TypeError(f"{self._schema.name} needs {stream.attribute}=")
        return arguments.pop(stream.attribute)

    def _bind(self, given: dict[str, Any]) -> dict[str, Any]:
        """The arguments by their names on the wire, descriptors as indexes."""
        name = self._schema.name
        bound: dict[str, Any] = {}
        for parameter in self._schema.parameters:
            if parameter.attribute not in given:
                if parameter.required:
                    raise TypeError(f"{name} needs {parameter.attribute}=")
                continue
            value = given.pop(parameter.attribute)
            if value is None:
                continue
            if parameter.name in self._schema.fds:
                self._fds.append(value)
                bound[parameter.name] = len(self._fds) - 1
            else:
                bound[parameter.name] = to_plain(value)
        if given:
            raise TypeError(f"{name} takes no {', '.join(sorted(given))}")
        return bound

    def _result(self, exchange: Exchange) -> Any:
        schema = self._schema
        value: Any = exchange.result
        if schema.key:
            value = value.get(schema.key) if is_map(value) else None
        taken = self._insert_fds(value, exchange)
        result = self._convert(value, schema.result)
        # From here on they are the caller's.
        exchange.fds = [fd for fd in exchange.fds if fd not in taken]
        return result

    def _insert_fds(self, value: object, exchange: Exchange) -> set[int]:
        taken: set[int] = set()
        for *parents, last in self._schema.result_fds:
            holder: object = value
            for key in parents:
                holder = holder.get(key) if is_map(holder) else None
            if not is_map(holder) or holder.get(last) is None:
                continue
            index: object = holder[last]
            if not isinstance(index, int) or not 0 <= index < len(exchange.fds):
                raise Internal(
                    f"{self._schema.name}: descriptor {index!r} did not come with "
                    "the answer"
                )
            holder[last] = exchange.fds[index]
            taken.add(exchange.fds[index])
        return taken

    def _convert(self, value: Any, type_: Any) -> Any:
        if type_ is type(None):
            return None
        try:
            return convert(value, type_)
        except InvalidArgument as error:
            raise Internal(
                f"{self._schema.name}: the daemon's answer cannot be read (are the "
                f"versions compatible?): {error}"
            ) from None

    # --- streams

    async def _pump(self, exchange: Exchange) -> None:
        """Move items until the answer is there and its items are delivered."""
        async with trio.open_nursery() as nursery:
            scope = nursery.cancel_scope
            if self._source is not None:
                nursery.start_soon(self._guarded, scope, self._send_items, exchange)
            if self._out is not None:
                await self._guarded(scope, self._deliver_items, exchange)
            await exchange.answered.wait()
            scope.cancel()
        if self._failure is not None:
            raise self._failure

    async def _guarded(
        self,
        scope: trio.CancelScope,
        function: Callable[[Exchange], Awaitable[None]],
        exchange: Exchange,
    ) -> None:
        """Keep an error of the caller's own source or sink as it is, not in a group."""
        try:
            await function(exchange)
        except Exception as error:  # noqa: BLE001 -- raised again in _pump
            self._failure = self._failure or error
            scope.cancel()

    async def _send_items(self, exchange: Exchange) -> None:
        assert self._schema.receives is not None
        limit = self._schema.receives.chunk
        source: AsyncIterator[Any] = aiter(self._source)
        async for item in source:
            for piece in _pieces(item, limit):
                await exchange.take_credit()
                self._connection.notify(ITEM, [exchange.msgid, to_plain(piece)])
                await trio.lowlevel.checkpoint()
        self._connection.notify(END, [exchange.msgid])

    async def _deliver_items(self, exchange: Exchange) -> None:
        stream = self._schema.sends
        assert stream is not None
        batch = max(stream.credit // 2, 1)
        delivered = 0
        async for item in exchange.items:
            value: Any = self._convert(item, stream.item)
            if self._encoded:
                value = Encoded(encode(value), stream.item)
            await self._out.send(value)
            delivered += 1
            if delivered == batch:
                delivered = 0
                if not exchange.answered.is_set():
                    self._connection.notify(CREDIT, [exchange.msgid, batch])


def _pieces(item: Any, limit: int) -> list[Any]:
    """An item of a stream of bytes in pieces that fit; any other as it is."""
    if not limit:
        return [item]
    data = bytes(item)
    return [data[at : at + limit] for at in range(0, max(len(data), 1), limit)]
