# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a service is, read from its Protocol: the one source of all other forms.

The dispatcher binds arguments by it, the client's stubs call by it, and
`introspection.v1.describe` and docs/rpc.md print it. It reads declarations and
nothing else: which plugin serves them, and how, is not known here.

Names on the wire are those of the Protocol without a trailing underscore, which
Python needs for words of its own (`import_` is `import`).
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Iterable, Iterator
from typing import Any, get_args, get_origin, get_type_hints

from pluggd import errors
from pluggd.model.record import Encoded, Record, is_record, record_fields, to_plain
from pluggd.services.kind import Kind
from pluggd.services.rpc import RPC_ATTRIBUTE, Fd, Receive, RpcOptions, Send
from pluggd.services.wiretypes import (
    MAPS,
    fd_paths,
    has_bytes,
    is_time,
    strip_optional,
    type_name,
    walk,
)
from pluggd.struct import Struct

ITEM_CREDIT = 64
"""Items that a side may send before it gets credit."""

CHUNK_CREDIT = 8
"""The same for streams whose items hold bytes."""

CHUNK_SIZE = 1024 * 1024
"""Bytes in one item of a stream of bytes, at most."""


TIME = "time"
"""The `format` of an `int` that is a time. A name of its own among the types would be
news to clients that know the types there were."""


class Parameter(Struct, frozen=True):
    """An argument of a method. `default` is meaningless when `required`."""

    name: str
    """On the wire."""
    attribute: str
    """In Python."""
    type: Any
    required: bool
    default: Any


class Stream(Struct, frozen=True):
    """One direction of items. `item` is their type, without `Encoded`.

    credit: how many may be sent before `$/credit` comes. chunk: bytes in an item, at
    most, for a stream of bytes; else 0.
    """

    attribute: str
    item: Any
    credit: int
    chunk: int


class MethodSchema(Struct, frozen=True):
    """A method. `name` is the whole name on the wire, `attribute` that in Python.

    result: its type, `type(None)` for none; key: what wraps it on the wire, or "".
    sends: items to the caller; receives: items from the caller.
    fds: the arguments that are descriptors; result_fds: where the result has some, as
    paths of field names. What its text says of arguments and errors is taken from it
    only when asked for: a daemon that starts has no use for that.
    """

    name: str
    attribute: str
    doc: str
    namespaced: bool
    waits: bool
    parameters: tuple[Parameter, ...]
    sends: Stream | None
    receives: Stream | None
    result: Any
    key: str
    fds: tuple[str, ...]
    result_fds: tuple[tuple[str, ...], ...]

    @property
    def errors(self) -> tuple[str, ...]:
        """The codes that its text names."""
        return _errors_of(self.doc)

    def parameter_docs(self) -> dict[str, str]:
        """What its text says of each argument, by its name in Python."""
        return split_docs(self.doc, [p.attribute for p in self._named])

    @property
    def _named(self) -> list[Parameter | Stream]:
        streams = [s for s in (self.sends, self.receives) if s is not None]
        return [*self.parameters, *streams]


class ServiceSchema(Struct, frozen=True):
    """A service and its methods, in order of declaration. Empty for a kind that serves
    nothing."""

    name: str
    kind: str
    doc: str
    methods: tuple[MethodSchema, ...]

    def method(self, attribute: str) -> MethodSchema:
        """By its name in Python. Raises KeyError."""
        for method in self.methods:
            if method.attribute == attribute:
                return method
        raise KeyError(attribute)

    def records(self) -> list[type[Record]]:
        """The records that its methods mention, each once, users before parts."""
        found: dict[type[Record], None] = {}
        for method in self.methods:
            for parameter in method.parameters:
                _collect(parameter.type, found)
            for stream in (method.receives, method.sends):
                if stream is not None:
                    _collect(stream.item, found)
            _collect(method.result, found)
        return list(found)

    def describe(self) -> dict[str, Any]:
        """Plain maps for introspection; docs/rpc.md lists the keys. Raises TypeError
        naming the first type that has no form on the wire."""
        return {
            "service": self.name,
            "kind": self.kind,
            "doc": self.doc,
            "methods": [_describe_method(method) for method in self.methods],
            "records": [describe_record(record) for record in self.records()],
        }


@functools.cache
def service_schema(kind: Kind[Any]) -> ServiceSchema:
    """The schema of a kind. Raises TypeError for a declaration that cannot be served."""
    interface: Any = kind.interface
    return ServiceSchema(
        name=kind.service,
        kind=kind.name,
        doc=_doc(interface),
        methods=tuple(
            _method(kind.service, *declared) for declared in _declared(interface)
        ),
    )


def has_methods(kind: Kind[Any]) -> bool:
    """Whether the interface declares methods with @rpc."""
    return any(True for _ in _declared(kind.interface))


def is_served(kind: Kind[Any]) -> bool:
    """Whether clients may call it, and there is something to call."""
    return kind.served and has_methods(kind)


def served_names(kind: Kind[Any]) -> list[str]:
    """The methods in Python, without reading what they take."""
    return [attribute for attribute, _, _ in _declared(kind.interface)]


def wire_name(attribute: str) -> str:
    """The name on the wire of a name in Python."""
    return attribute.removesuffix("_")


def _declared(interface: Any) -> Iterator[tuple[str, Any, RpcOptions]]:
    """(name, function, options) of what is marked with @rpc, each name once."""
    seen: set[str] = set()
    bases: tuple[type, ...] = interface.__mro__
    for base in reversed(bases):
        members: dict[str, Any] = dict(vars(base))
        for attribute, function in members.items():
            options = getattr(function, RPC_ATTRIBUTE, None)
            if isinstance(options, RpcOptions) and attribute not in seen:
                seen.add(attribute)
                yield attribute, function, options


def _method(
    service: str, attribute: str, function: Any, options: RpcOptions
) -> MethodSchema:
    where = f"{service}.{attribute}"
    if not inspect.iscoroutinefunction(function):
        raise TypeError(f"{where} must be declared async def")
    hints = get_type_hints(function, include_extras=True)
    doc = _doc(function)
    signature = inspect.signature(function)
    names = [name for name in signature.parameters if name != "self"]
    parameters: list[Parameter] = []
    sends: list[Stream] = []
    receives: list[Stream] = []
    fds: list[str] = []
    for name in names:
        parameter = signature.parameters[name]
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            raise TypeError(f"{where}: parameter {name} must be keyword-only")
        if name not in hints:
            raise TypeError(f"{where}: parameter {name} needs a type")
        type_ = hints[name]
        origin = get_origin(type_)
        if origin is Send:
            sends.append(_stream(name, type_))
            continue
        if origin is Receive:
            receives.append(_stream(name, type_))
            continue
        if strip_optional(type_) is Fd:
            fds.append(wire_name(name))
        elif any(fd_paths(type_)):
            raise TypeError(f"{where}: a descriptor must be an argument of its own")
        required = parameter.default is inspect.Parameter.empty
        parameters.append(
            Parameter(
                name=wire_name(name),
                attribute=name,
                type=type_,
                required=required,
                default=None if required else parameter.default,
            )
        )
    if len(sends) > 1 or len(receives) > 1:
        raise TypeError(f"{where}: at most one stream in each direction")
    result = hints.get("return", type(None))
    if options.result is None and not _is_map_or_nil(result):
        raise TypeError(f"{where}: a result that is no record needs rpc(result=...)")
    return MethodSchema(
        name=f"{service}.{wire_name(attribute)}",
        attribute=attribute,
        doc=doc,
        namespaced=options.namespaced,
        waits=options.waits,
        parameters=tuple(parameters),
        sends=sends[0] if sends else None,
        receives=receives[0] if receives else None,
        result=result,
        key=options.result or "",
        fds=tuple(fds),
        result_fds=tuple(fd_paths(result)),
    )


def _stream(attribute: str, type_: Any) -> Stream:
    item = get_args(type_)[0]
    if get_origin(item) is Encoded:
        item = get_args(item)[0]
    chunk = CHUNK_SIZE if item is bytes else 0
    credit = CHUNK_CREDIT if has_bytes(item) else ITEM_CREDIT
    return Stream(attribute, item, credit, chunk)


def _is_map_or_nil(type_: Any) -> bool:
    type_ = strip_optional(type_)
    return type_ is type(None) or is_record(type_) or get_origin(type_) in MAPS


def _collect(type_: Any, found: dict[type[Record], None]) -> None:
    for part in walk(type_):
        if is_record(part):
            found[part] = None


# --- texts


def _doc(thing: Any) -> str:
    return inspect.cleandoc(thing.__doc__ or "")


def split_docs(doc: str, names: Iterable[str]) -> dict[str, str]:
    """What a text says of each name, where it says it as `name: ...`.

    Such a part begins a line or follows a full stop, and ends at the next one or at
    the end of its paragraph.
    """
    words = "|".join(re.escape(name) for name in names)
    if not words:
        return {}
    found: dict[str, str] = {}
    begin = re.compile(rf"(?:^|(?<=\. )|(?<=; ))({words}): ")
    for paragraph in doc.split("\n\n"):
        text = " ".join(line.strip() for line in paragraph.splitlines())
        pieces = begin.split(text)
        for name, piece in zip(pieces[1::2], pieces[2::2], strict=True):
            found[name] = piece.partition(" Raises ")[0].strip().rstrip(";")
    return found


_CLASS_NAMES = {cls.__name__.rstrip("_"): code for code, cls in errors.CLASSES.items()}


def _errors_of(doc: str) -> tuple[str, ...]:
    words = re.findall(r"\b[A-Z]\w+", doc)
    return tuple(dict.fromkeys(_CLASS_NAMES[w] for w in words if w in _CLASS_NAMES))


def _describe_method(method: MethodSchema) -> dict[str, Any]:
    docs = method.parameter_docs()
    described: dict[str, Any] = {
        "name": method.name,
        "doc": method.doc,
        "namespaced": method.namespaced,
        "waits": method.waits,
        "params": [
            _describe_parameter(p, docs.get(p.attribute, ""), method.name)
            for p in method.parameters
        ],
        "result": _type(method.result, f"{method.name}: its result"),
        "result_key": method.key,
        "errors": list(method.errors),
    }
    if is_time(method.result):
        described["result_format"] = TIME
    for direction, stream in (("sends", method.sends), ("receives", method.receives)):
        if stream is not None:
            described[direction] = {
                "item": _type(
                    stream.item, f"{method.name}: items of {stream.attribute}"
                ),
                "credit": stream.credit,
                "max_bytes": stream.chunk,
                **_format(stream.item),
            }
    return described


def _describe_parameter(parameter: Parameter, doc: str, method: str) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": parameter.name,
        "type": _type(parameter.type, f"{method}: parameter {parameter.name}"),
        **_format(parameter.type),
        "required": parameter.required,
        "doc": doc,
    }
    if not parameter.required:
        described["default"] = _plain(parameter.default)
    return described


def describe_record(record: type[Record]) -> dict[str, Any]:
    """A record as plain maps."""
    doc = _doc(record)
    fields = record_fields(record)
    docs = split_docs(doc, [field.name for field in fields])
    described: list[dict[str, Any]] = []
    for field in fields:
        entry: dict[str, Any] = {
            "name": field.name,
            "type": _type(field.type, f"{record.__name__}.{field.name}"),
            **_format(field.type),
            "required": field.required,
            "doc": docs.get(field.name, ""),
        }
        if not field.required:
            entry["default"] = _plain(field.default)
        described.append(entry)
    return {"name": record.__name__, "doc": doc, "fields": described}


def _type(type_: Any, where: str) -> str:
    try:
        return type_name(type_)
    except TypeError as error:
        raise TypeError(
            f"{where}: {error}, which has records, str, int, float, bool, bytes, and"
            " list[...] and dict[str, ...] of these"
        ) from None


def shown_type(name: str, format_: str) -> str:
    """A type for people, from its name and `format`: `time` where its `int` is one."""
    return re.sub(r"\bint\b", TIME, name) if format_ == TIME else name


def _format(type_: Any) -> dict[str, str]:
    return {"format": TIME} if is_time(type_) else {}


def _plain(default: object) -> object:
    return list(default) if isinstance(default, tuple) else to_plain(default)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
