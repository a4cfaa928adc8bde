# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Plain data from the wire to the typed arguments of a method, or a refusal that names
the culprit.

Stricter than `model.record`, which ignores unknown fields so that old clients read
new daemons: what a *client* sends and we do not know is its mistake. Also here: nil is
absent, and a bytes field takes text (docs/rpc.md). Knows no connection.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from typing import (
    Any,
    Literal,
    NotRequired,
    Required,
    TypedDict,
    TypeGuard,
    get_args,
    get_origin,
)

from msgpack import ExtType, Timestamp

from pluggd.errors import InvalidArgument
from pluggd.model.record import convert, is_record, record_fields
from pluggd.services.kind import Kind
from pluggd.services.schema import MethodSchema, service_schema
from pluggd.services.wiretypes import LISTS, MAPS, strip_optional
from pluggd.wire.decoder import EXTENSIONS

_PLAIN = (str, int, bool)
_typed_dict: Any = TypedDict  # made at run time, which type checkers do not follow


class Arguments:
    """The arguments of one method.

    On the fast path, for arguments that are all plain and of the right type, the
    data itself is what the method is called with.
    """

    def __init__(self, schema: MethodSchema) -> None:
        self._method = schema.name
        self._plain = {p.name: p.type for p in schema.parameters if p.type in _PLAIN}
        self._required = frozenset(p.name for p in schema.parameters if p.required)
        self._renamed = {
            p.name: p.attribute for p in schema.parameters if p.name != p.attribute
        }
        self._shape = _RecordShape()
        self._shape.fill({p.name: p.type for p in schema.parameters}, {})
        self._parameters = schema.parameters

    @functools.cached_property
    def _type(self) -> Any:
        return _typed_dict(
            "Arguments",
            {
                p.name: Required[p.type] if p.required else NotRequired[p.type]
                for p in self._parameters
            },
        )

    def require_map(self, data: object) -> dict[Any, Any]:
        """The arguments as they came. Raises InvalidArgument."""
        if data is None or data == []:
            return {}  # an empty table of Lua, as Neovim sends it, is an array
        if not _is_map(data):
            raise InvalidArgument(
                f"{self._method}: arguments must be a map, not {_name_of(data)}"
            )
        return data

    def bind(self, data: object, *, escaped: bool = False) -> dict[str, Any]:
        """Keyword arguments for the method; what was not given is not there.

        `data` is used up. Raises InvalidArgument naming method, argument and rule.
        """
        data = self.require_map(data)
        if not escaped and not self._renamed:
            plain = self._plain
            for name, value in data.items():
                if plain.get(name) is not type(value):
                    break
            else:
                if self._required <= data.keys():
                    return data
        try:
            prepared = self._shape.prepare(data)
            if escaped:
                refuse_surrogates(prepared)
            bound: dict[str, Any] = convert(prepared, self._type)
        except Mismatch as error:
            text = error.describe("argument")
            raise InvalidArgument(f"{self._method}: {text}") from None
        except InvalidArgument as error:
            types = {p.name: p.type for p in self._parameters}
            text = _explain(error, data, types, "argument")
            raise InvalidArgument(f"{self._method}: {text}") from None
        for name, attribute in self._renamed.items():
            if name in bound:
                bound[attribute] = bound.pop(name)
        return bound


@functools.cache
def arguments_of(kind: Kind[Any]) -> dict[str, Arguments]:
    """By the method's name in Python: discovery finds mistakes with what the dispatcher
    uses later. Raises TypeError for a declaration that cannot be served."""
    methods = service_schema(kind).methods
    return {method.attribute: Arguments(method) for method in methods}


class Item:
    """The items of a stream from the caller."""

    def __init__(self, method: str, type_: Any) -> None:
        self._method = method
        self._type = type_
        self._shape = _shape_of(type_, {})

    def convert(self, value: object, *, escaped: bool = False) -> Any:
        """The typed item. Raises InvalidArgument naming method and culprit."""
        try:
            if self._shape is not None:
                value = self._shape.prepare(value)
            if escaped:
                refuse_surrogates(value)
            return convert(value, self._type)
        except Mismatch as error:
            text = error.describe("field")
        except InvalidArgument as error:
            text = _explain(error, value, self._type, "field")
        raise InvalidArgument(f"{self._method}: item: {text}")


class Mismatch(Exception):
    """What is wrong below a path; the path grows on the way out."""

    def __init__(self, reason: str, *path: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = list(path)

    def describe(self, what: str) -> str:
        return f"{_where(what, '.'.join(self.path))}{self.reason}"


# --- shapes: what has to be looked at before the types are checked


class _Shape:
    def prepare(self, value: Any) -> Any:
        raise NotImplementedError


class _BytesShape(_Shape):
    def prepare(self, value: Any) -> Any:
        if type(value) is str:
            return value.encode("utf-8", "surrogateescape")
        return value


class _AnyShape(_Shape):
    """Whatever the profile has, at any depth. An extension type is none of it, and must
    not be stored as the array for which msgspec takes it."""

    def prepare(self, value: Any) -> Any:
        if type(value) in EXTENSIONS:
            raise Mismatch(
                "holds an extension type; values are nil, bool, int, float, str, bin,"
                " array and map" + (ONLY_TIMES if type(value) is Timestamp else "")
            )
        inside: Iterable[tuple[object, Any]] = ()
        if _is_map(value):
            inside = value.items()
        elif _is_list(value):
            inside = enumerate(value)
        for key, element in inside:
            if type(element) in _LEAVES:
                continue
            try:
                self.prepare(element)
            except Mismatch as error:
                error.path.insert(0, str(key))
                raise
        return value


_LEAVES = frozenset({str, int, bytes, bool, float, type(None)})


class _LiteralShape(_Shape):
    """One of some words; msgspec would not tell which there are."""

    def __init__(self, words: tuple[object, ...]) -> None:
        self._words = words

    def prepare(self, value: Any) -> Any:
        if value is not None and (
            type(value) not in (str, int) or value not in self._words
        ):
            given = f'"{value}"' if isinstance(value, str) else _name_of(value)
            words = ", ".join(map(str, self._words))
            raise Mismatch(f"is {given}, which is none of {words}")
        return value


class _ListShape(_Shape):
    def __init__(self, item: _Shape) -> None:
        self._item = item

    def prepare(self, value: Any) -> Any:
        if not _is_list(value):
            # An extension type is a tuple, which msgspec would take for a list.
            return _AnyShape().prepare(value) if type(value) is ExtType else value
        prepared: list[Any] = []
        for index, element in enumerate(value):
            try:
                prepared.append(self._item.prepare(element))
            except Mismatch as error:
                error.path.insert(0, str(index))
                raise
        return prepared


class _MapShape(_Shape):
    def __init__(self, item: _Shape) -> None:
        self._item = item

    def prepare(self, value: Any) -> Any:
        if not _is_map(value):
            return value
        prepared: dict[Any, Any] = {}
        for key, element in value.items():
            try:
                prepared[key] = self._item.prepare(element)
            except Mismatch as error:
                error.path.insert(0, str(key))
                raise
        return prepared


class _RecordShape(_Shape):
    """A map of known names: refuses others, drops nil, prepares what needs it."""

    def __init__(self) -> None:
        self._names: frozenset[str] = frozenset()
        self._shapes: dict[str, _Shape] = {}

    def fill(self, fields: Mapping[str, Any], known: _Known) -> None:
        """Apart from construction, so that a record may contain itself."""
        self._names = frozenset(fields)
        for name, type_ in fields.items():
            shape = _shape_of(type_, known)
            if shape is not None:
                self._shapes[name] = shape

    def prepare(self, value: Any) -> Any:
        if not _is_map(value):
            return value
        if not value.keys() <= self._names:
            raise self._unknown(value)
        if None in value.values():
            value = {k: v for k, v in value.items() if v is not None}
        for name, shape in self._shapes.items():
            if name in value:
                try:
                    value[name] = shape.prepare(value[name])
                except Mismatch as error:
                    error.path.insert(0, name)
                    raise
        return value

    def _unknown(self, value: dict[Any, Any]) -> Mismatch:
        name = next(name for name in value if name not in self._names)
        text = name if isinstance(name, str) else repr(name)
        return Mismatch("is not known" + did_you_mean(text, self._names), text)


_Known = dict[Any, _RecordShape]


def _shape_of(type_: Any, known: _Known) -> _Shape | None:
    type_ = strip_optional(type_)
    if type_ is bytes:
        return _BytesShape()
    if type_ is Any:
        return _AnyShape()
    if is_record(type_):
        shape = known.get(type_)
        if shape is None:
            shape = known[type_] = _RecordShape()
            shape.fill({f.name: f.type for f in record_fields(type_)}, known)
        return shape
    origin = get_origin(type_)
    if origin is Literal:
        return _LiteralShape(get_args(type_))
    if origin in LISTS or origin in MAPS:
        inner = _shape_of(get_args(type_)[-1], known)
        if inner is not None:
            return _ListShape(inner) if origin in LISTS else _MapShape(inner)
    return None


def refuse_surrogates(value: object, *path: str) -> None:
    """Raises Mismatch for text that holds bytes which are no UTF-8."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Mismatch("is text and must be valid UTF-8", *path) from None
    elif _is_map(value):
        for key, element in value.items():
            refuse_surrogates(key, *path)
            refuse_surrogates(element, *path, str(key))
    elif _is_list(value):
        for index, element in enumerate(value):
            refuse_surrogates(element, *path, str(index))


# --- texts


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """`; did you mean "x"?`, or nothing when no name is close."""
    import difflib  # for mistakes only, and a thousand lines

    close = difflib.get_close_matches(name, list(names), 1)
    return f'; did you mean "{close[0]}"?' if close else ""


ONLY_TIMES = ", and a timestamp where the schema says time"

_AT = r" - at (?:`key` in )?`\$\.?(.*)`$"
_MISSING = r"Object missing required field `(.*)`$"


def _explain(error: InvalidArgument, data: object, type_: Any, what: str) -> str:
    """Why data does not have its type. type_: as of `Times.of`."""
    from pluggd.core.times import Times  # for mistakes only

    times = Times.of(type_)
    try:
        if times is not None:
            times.refuse(data)
        _AnyShape().prepare(data)
    except Mismatch as mismatch:
        return mismatch.describe(what)
    return _in_our_words(str(error), what)


def _in_our_words(text: str, what: str) -> str:
    """What msgspec says, with the path first."""
    at = re.search(_AT, text)
    path = at[1] if at else ""
    reason = text[: at.start()] if at else text
    missing = re.match(_MISSING, reason)
    if missing:
        path = f"{path}.{missing[1]}" if path else missing[1]
        return f"{_where(what, path)}is missing"
    reason = reason.replace("`object`", "map").replace("`", "").replace("null", "nil")
    reason = reason[:1].lower() + reason[1:]
    return f"{_where(what, path).rstrip()}: {reason}" if path else reason


def _where(what: str, path: str) -> str:
    return f'{what} "{path}" ' if path else ""


def _name_of(value: object) -> str:
    names: dict[type, str] = {dict: "a map", list: "an array", str: "a str"}
    return names.get(type(value), type(value).__name__)


def _is_map(value: object) -> TypeGuard[dict[Any, Any]]:
    return type(value) is dict


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return type(value) is list
