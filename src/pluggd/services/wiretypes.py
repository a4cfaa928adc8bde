# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The types that parameters, results and fields may have: taken apart, and named.

One place knows how Python spells a list, a map or an optional value, so that what
is bound, checked and documented is the same. What services are made of them is
`schema`.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin

from pluggd.model.record import Encoded, is_record, record_fields
from pluggd.model.types import Time
from pluggd.services.rpc import Fd

LISTS = (list, Sequence)
MAPS = (dict, Mapping)


def strip_optional(type_: Any) -> Any:
    """`T` of `T | None`; any other type as it is."""
    if get_origin(type_) in (Union, types.UnionType):
        rest = [part for part in get_args(type_) if part is not type(None)]
        if len(rest) == 1:
            return rest[0]
    return type_


def parts_of(type_: Any) -> tuple[Any, ...]:
    """The types that a container or union is made of."""
    origin = get_origin(type_)
    if origin in (*LISTS, *MAPS, Union, types.UnionType, Encoded):
        return get_args(type_)
    return ()


def has_bytes(type_: Any) -> bool:
    """Whether values of a type hold bytes that are declared as such."""
    return any(part is bytes for part in walk(type_))


def walk(type_: Any) -> Iterator[Any]:
    """A type and all that it is made of, each once."""
    seen: list[Any] = []
    todo = [type_]
    while todo:
        current = todo.pop(0)
        if current in seen:
            continue
        seen.append(current)
        yield current
        todo.extend(parts_of(current))
        if is_record(current):
            todo.extend(field.type for field in record_fields(current))


def is_time(type_: Any) -> bool:
    """Whether the integers in a type, by the name that `type_name` gives it, are times."""
    return type_ == Time or any(is_time(part) for part in parts_of(type_))


def fd_paths(
    type_: Any, path: tuple[str, ...] = (), inside: tuple[Any, ...] = ()
) -> Iterator[tuple[str, ...]]:
    """Where values of a type hold descriptors, as paths of field names."""
    type_ = strip_optional(type_)
    if type_ is Fd:
        yield path
    elif is_record(type_) and type_ not in inside:
        for field in record_fields(type_):
            yield from fd_paths(field.type, (*path, field.name), (*inside, type_))


_NAMES = {
    str: "str",
    int: "int",
    bool: "bool",
    float: "float",
    bytes: "bytes",
    type(None): "nil",
    Any: "any",
    Fd: "fd",
    Time: "int",
}


def type_name(type_: Any) -> str:
    """A type in the words of the schema: `str`, `list[Image]`, `map[str]`, `int | nil`."""
    if type_ in _NAMES:
        return _NAMES[type_]
    origin = get_origin(type_)
    arguments = get_args(type_)
    if origin in LISTS:
        return f"list[{type_name(arguments[0])}]"
    if origin in MAPS:
        return f"map[{type_name(arguments[1])}]"
    if origin in (Union, types.UnionType):
        return " | ".join(type_name(part) for part in arguments)
    if origin is Literal:
        return " | ".join(f'"{part}"' for part in arguments)
    if origin is Encoded:
        return type_name(arguments[0])
    if is_record(type_):
        return type_.__name__
    raise TypeError(f"{type_!r} has no form on the wire")
