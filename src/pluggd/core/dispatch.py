# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""From a request to the method that serves it, and from its result to bytes.

A plain table of names, filled at start from the schemas of the kinds; plugins are not
asked on the way. A call's surroundings (namespace, lease, peer) are set here. It
has never heard of a socket: `connection` gives it requests, and what it returns
are values and errors.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from types import MethodType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

from pluggd.core.access import AccessConfig, check_access
from pluggd.core.advice import meant
from pluggd.core.arguments import Arguments, Item, arguments_of, did_you_mean
from pluggd.core.statistics import MethodStatistics, Statistics
from pluggd.errors import (
    CLASSES,
    DeadlineExceeded,
    Internal,
    InvalidArgument,
    NotFound,
    NotImplemented_,
    PluggdError,
    ResourceExhausted,
)
from pluggd.model.record import (
    Encoded,
    encode,
    is_record,
    record_fields,
    replace,
    to_plain,
)
from pluggd.plugin import DEFERRED_ATTRIBUTE, INLINE_ATTRIBUTE
from pluggd.services.call import Call, Peer, current_call, namespace
from pluggd.services.hello import RPC
from pluggd.services.kind import Kind
from pluggd.services.rpc import Unfinished
from pluggd.services.schema import (
    MethodSchema,
    has_methods,
    served_names,
    service_schema,
    wire_name,
)
from pluggd.struct import as_map
from pluggd.wire.encoder import LARGE, NIL, bytes_header, wrapping
from pluggd.wire.limits import Limits
from pluggd.wire.messages import FEATURES, HELLO, Request

if TYPE_CHECKING:
    from pluggd.core.calls import Line, SendStream
    from pluggd.services.schema import Stream

log = logging.getLogger("pluggd.rpc")

UNKNOWN = "unknown"
"""For statistics: a client may say any name, and each would be kept for ever."""

_ENVELOPE = 64
"""Bytes that a response may need around its result."""

_ONE_BYTE = b"\0"
_ONE_BYTE_ENCODED = encode(_ONE_BYTE)


class Method:
    """A method as it is served: how its arguments are bound, what is called, and how
    its result is encoded."""

    __slots__ = (
        "_large",
        "_prefix",
        "arguments",
        "deferred",
        "function",
        "inline",
        "item",
        "name",
        "schema",
        "sender",
        "service",
        "statistics",
        "streams",
        "timed",
    )

    def __init__(
        self,
        schema: MethodSchema,
        arguments: Arguments,
        function: Callable[..., Any],
        statistics: MethodStatistics,
    ) -> None:
        self.name = schema.name
        self.service = schema.name.rpartition(".")[0]
        self.statistics = statistics
        self.schema = schema
        self.arguments = arguments
        self.streams = schema.sends is not None or schema.receives is not None
        self.item = None
        if schema.receives is not None:
            self.item = Item(schema.name, schema.receives.item)
        self.function = function
        plain = getattr(function, INLINE_ATTRIBUTE, None)
        self.inline = plain is not None
        if plain is None:
            plain = getattr(function, DEFERRED_ATTRIBUTE, None)
        self.deferred = plain is not None and not self.inline
        if plain is not None:
            owner = getattr(function, "__self__", None)
            self.function = plain if owner is None else MethodType(plain, owner)
        self.sender: Callable[[Line, int, Stream], SendStream] | None = None
        self.timed: Method | None = None  # see `timed_method`
        self._prefix = wrapping(schema.key) if schema.key else b""
        self._large = last_bytes(schema.result)

    def encode(self, result: Any) -> bytes:
        """The bytes of the result as it stands in the response."""
        if type(result) is Encoded:
            return self._prefix + result.data  # pyright: ignore[reportUnknownMemberType]
        if result is None:
            return self._prefix + NIL
        return self._prefix + encode(result)

    def encode_parts(self, result: Any) -> tuple[bytes, bytes]:
        """As `encode`, in two parts: bytes at the end of a record that are many are the
        second, and not copied; else that is empty."""
        name = self._large
        if name is None or type(result) is not self.schema.result:
            return self.encode(result), b""
        tail = getattr(result, name)
        if type(tail) is not bytes or len(tail) < LARGE:
            return self.encode(result), b""
        head = encode(replace(result, **{name: _ONE_BYTE}))
        return (
            self._prefix + head[: -len(_ONE_BYTE_ENCODED)] + bytes_header(len(tail)),
            tail,
        )

    def encode_with_fds(self, result: Any) -> tuple[bytes, tuple[int, ...]]:
        """As `encode`; descriptors are taken out and replaced by their index."""
        plain = to_plain(result)
        fds: list[int] = []
        for path in self.schema.result_fds:
            owner: dict[str, Any] = plain
            for name in path[:-1]:
                owner = owner.get(name, {})
            if owner.get(path[-1]) is not None:
                fds.append(owner[path[-1]])
                owner[path[-1]] = len(fds) - 1
        return self._prefix + encode(plain), tuple(fds)


class Prepared(NamedTuple):
    """A request that may run. timeout: seconds, or None."""

    method: Method
    arguments: dict[str, Any]
    call: Call
    timeout: float | None


class Session:
    """What stays the same between the calls of one connection.

    A client mostly says the same metadata again and again; the checked form is kept.
    """

    __slots__ = ("_known", "id", "peer")

    KEPT = 64

    def __init__(self, id: str, peer: Peer | None) -> None:
        self.id = id
        self.peer = peer
        self._known: dict[tuple[str, str, str], tuple[Call, PluggdError | None]] = {}

    def call(
        self, namespace_: str, lease: str, traceparent: str
    ) -> tuple[Call, PluggdError | None]:
        """The surroundings, and what is wrong with their namespace, if anything."""
        key = (namespace_, lease, traceparent)
        known = self._known.get(key)
        if known is None:
            call = Call(
                namespace=namespace_,
                lease=lease,
                peer=self.peer,
                request=self.id,
                traceparent=traceparent,
            )
            known = (call, _namespace_error(call))
            if len(self._known) >= self.KEPT:
                self._known.clear()
            self._known[key] = known
        return known


def _namespace_error(call: Call) -> PluggdError | None:
    token = current_call.set(call)
    try:
        namespace()
    except PluggdError as error:
        return error
    finally:
        current_call.reset(token)
    return None


class Dispatcher:
    """The table of methods of one daemon."""

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        version: str = "",
        access: AccessConfig | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.version = version
        self.statistics = Statistics()
        self._access: AccessConfig | None = None
        self.set_access(access)
        self._methods: dict[str, Method] = {}
        self._services: dict[str, Kind[Any]] = {RPC.service: RPC}
        self._unread: dict[str, Kind[Any]] = {}
        self._providers: dict[str, str] = {}
        self._implementations: dict[str, object] = {}
        self._down: dict[str, PluggdError] = {}
        self._unknown = self.statistics.method(UNKNOWN)
        self._hello = Method(
            service_schema(RPC).method("hello"),
            arguments_of(RPC)["hello"],
            _hello_is_built_in,
            self.statistics.method(HELLO),
        )

    # --- the table

    def add(self, kind: Kind[Any], implementation: object, uri: str = "") -> None:
        """Serve a kind by an object; uri: of its plugin, for messages.

        A method that an older provider does not have is answered `not_implemented`. The
        declaration is read at the first call: 2 ms for each service are a sixth of a
        start. Discovery has read those that might be wrong (`validation`).
        """
        if not has_methods(kind):
            return
        service = kind.service
        self._forget(service)
        self._services[service] = self._unread[service] = kind
        self._providers[service] = uri
        self._implementations[service] = implementation
        for attribute in served_names(kind):
            if not hasattr(implementation, attribute):
                name = f"{service}.{wire_name(attribute)}"
                log.warning("%s does not have %s", uri or kind.name, name)

    def _read(self, kind: Kind[Any]) -> None:
        """Make the methods of a service of which none was called yet."""
        del self._unread[kind.service]
        uri = self._providers[kind.service]
        implementation = self._implementations[kind.service]
        arguments = arguments_of(kind)
        for method in service_schema(kind).methods:
            function = getattr(implementation, method.attribute, None)
            if function is not None:
                self._methods[method.name] = Method(
                    method,
                    arguments[method.attribute],
                    function,
                    self.statistics.method(method.name, uri),
                )

    def _served(self, name: str) -> Method | None:
        method = self._methods.get(name)
        if method is None and self._unread:
            kind = self._unread.get(name.rpartition(".")[0])
            if kind is not None:
                self._read(kind)
                method = self._methods.get(name)
        return method

    def set_access(self, access: AccessConfig | None) -> None:
        """Who may call what, from the next request on."""
        if access is not None and not access.rules and access.default == "allow":
            access = None
        self._access = access

    def unavailable(self, kind: Kind[Any] | str, error: PluggdError) -> None:
        """Answer every call of a service with this error from now on."""
        service = kind if isinstance(kind, str) else kind.service
        if not isinstance(kind, str):
            if not has_methods(kind):
                return
            self._services[service] = kind
        self._forget(service)
        self._down[service] = error

    def remove(self, service: str) -> None:
        """Know nothing of a service any more."""
        self._forget(service)
        self._services.pop(service, None)

    def _forget(self, service: str) -> None:
        self._down.pop(service, None)
        self._unread.pop(service, None)
        self._providers.pop(service, None)
        self._implementations.pop(service, None)
        for name in [n for n in self._methods if n.rpartition(".")[0] == service]:
            del self._methods[name]

    def provider(self, service: str) -> str:
        """The URI of the plugin that answers for a service, or ""."""
        return self._providers.get(service, "")

    def serves(self, service: str, implementation: object) -> bool:
        """Whether this very object answers for the service."""
        return self._implementations.get(service) is implementation

    def services(self) -> dict[str, PluggdError | None]:
        """The services by name, with what keeps them from serving."""
        names = sorted({*self._services, *self._down})
        return {name: self._down.get(name) for name in names}

    def describe(self, service: str = "") -> list[dict[str, Any]]:
        """The schema of all services that work, or of one, as plain maps.

        Raises NotFound, or the error of a service that does not work.
        """
        if service:
            self._check_up(service)
            if service not in self._services:
                hint = meant(service, self._services, 0.6)
                raise NotFound(f'service "{service}": not found{hint}')
            return [self._describe(service)]
        return [
            self._describe(n) for n in sorted(self._services) if n not in self._down
        ]

    def _describe(self, service: str) -> dict[str, Any]:
        described = service_schema(self._services[service]).describe()
        described["provider"] = self._providers.get(service, "")
        if service == RPC.service:
            described["limits"] = as_map(self.limits)
            described["errors"] = list(CLASSES)
            described["features"] = list(FEATURES)
        return described

    # --- a request

    def method(self, name: str) -> Method:
        """Raises NotImplemented_ naming what is unknown, or why a service is down."""
        method = self._served(name)
        if method is not None:
            return method
        if name == HELLO:
            return self._hello
        service, _, short = name.rpartition(".")
        self._check_up(service)
        kind = self._services.get(service)
        if kind is None and "." not in service:
            raise NotImplemented_(
                f'unknown method "{name}": a method is service.version.name, as in '
                f"images.v1.list"
            )
        if kind is None:
            hint = meant(service, self._services, 0.6)
            raise NotImplemented_(f'unknown service "{service}" of "{name}"{hint}')
        declared = [m.name.rpartition(".")[2] for m in service_schema(kind).methods]
        if short in declared:
            uri = self._providers.get(service, "")
            raise NotImplemented_(f'method "{name}" is not implemented by {uri}')
        hint = did_you_mean(short, declared)
        raise NotImplemented_(f'unknown method "{short}" of service "{service}"{hint}')

    def _check_up(self, service: str) -> None:
        error = self._down.get(service)
        if error is not None:
            raise type(error)(error.message)

    def prepare(self, method: Method, request: Request, session: Session) -> Prepared:
        """Check and bind. Raises the PluggdError to answer with."""
        params: Any = request.params
        arguments: object = None
        metadata: object = None
        if _is_list(params):
            count = len(params)
            if count:
                arguments = params[0]
                if count > 1:
                    metadata = params[1]
                    if count > 2:
                        raise InvalidArgument(
                            f"{method.name}: params are [arguments, metadata], "
                            f"not {count} values"
                        )
        elif params is not None:
            raise InvalidArgument(
                f"{method.name}: params must be an array, [arguments, metadata]"
            )
        timeout: float | None = None
        if metadata is None:
            call, error = session.call("", "", "")
        elif _is_map(metadata):
            get = metadata.get
            space, lease, trace = get("namespace"), get("lease"), get("traceparent")
            if not (
                (space is None or type(space) is str)
                and (lease is None or type(lease) is str)
                and (trace is None or type(trace) is str)
            ):
                raise _bad_metadata(method.name, metadata)
            call, error = session.call(space or "", lease or "", trace or "")
            given: object = get("timeout")
            if given is not None:
                timeout = _seconds(method.name, given)
        else:
            raise InvalidArgument(f"{method.name}: metadata must be a map")
        if self._access is not None and method is not self._hello:
            check_access(self._access, session.peer, call.namespace, method.name)
        if error is not None and method.schema.namespaced:
            # Whose arguments are no map has put the metadata elsewhere as well.
            method.arguments.require_map(arguments)
            raise type(error)(error.message)
        return Prepared(
            method,
            method.arguments.bind(arguments, escaped=request.escaped),
            call,
            timeout,
        )

    def counters(self, name: str) -> MethodStatistics:
        """What to count a request of this name with, whether there is such a method."""
        method = self._served(name)
        if method is not None:
            return method.statistics
        return self._hello.statistics if name == HELLO else self._unknown

    def run_inline(self, prepared: Prepared) -> bytes | Unfinished[Any]:
        """Call a method that does not wait; its encoded result, or what is left to do."""
        method = prepared.method
        token = current_call.set(prepared.call)
        try:
            result = method.function(**prepared.arguments)
            if isinstance(result, Unfinished):
                return result  # pyright: ignore[reportUnknownVariableType]
            raw = method.encode(result)
        finally:
            current_call.reset(token)
        self.check_size(method, len(raw))
        return raw

    def check_size(self, method: Method, size: int) -> None:
        """Raises ResourceExhausted for a result that does not fit a message."""
        limit = self.limits.message_size
        if size + _ENVELOPE > limit:
            raise ResourceExhausted(
                f"{method.name}: the result has {size} bytes and a message at most "
                f"{limit}; ask for a part (limit and after, or offset and size)"
            )


def internal(
    method: str, request: str, error: BaseException, plugin: str = ""
) -> Internal:
    """A bug: logged with its traceback and its plugin, told without."""
    extra = {"request": request, "method": method}
    if plugin:
        extra["plugin"] = plugin
    log.error("%s failed: %s", method, error, exc_info=error, extra=extra)
    return Internal(
        f"{method}: internal error; the daemon's log has it under request {request}"
    )


async def _hello_is_built_in() -> None:
    raise AssertionError("the connection answers rpc.v1.hello")


def last_bytes(type_: Any) -> str | None:
    """The field of a record that is encoded last, if it is bytes."""
    if not is_record(type_):
        return None
    fields = record_fields(type_)
    return fields[-1].name if fields and fields[-1].type is bytes else None


def _bad_metadata(method: str, metadata: dict[Any, Any]) -> InvalidArgument:
    for name in ("namespace", "lease", "traceparent"):
        value = metadata.get(name)
        if value is not None and type(value) is not str:
            return InvalidArgument(
                f'{method}: metadata "{name}": expected str, got {type(value).__name__}'
            )
    raise AssertionError("metadata was found bad")


def _seconds(method: str, value: object) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise InvalidArgument(
            f'{method}: metadata "timeout": expected seconds, '
            f"got {type(value).__name__}"
        )
    if math.isnan(value):
        raise InvalidArgument(f'{method}: metadata "timeout" is not a number')
    if value <= 0:
        raise DeadlineExceeded(f"{method}: the timeout of {value:g} s has passed")
    return float(value)


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return type(value) is list


def _is_map(value: object) -> TypeGuard[dict[Any, Any]]:
    return type(value) is dict
