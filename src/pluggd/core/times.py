# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where values of a type hold times, and what stands there: integers, or timestamps.

A time in pluggd is an int, and nothing in its bytes tells it from others: the declared
types do (`pluggd.model.types.Time`). What is not declared has no times: a free-form
value leaves as it came.

Timestamps are those of msgpack, extension type -1. They have nanoseconds, as pluggd
has, and never become a `datetime`, which has not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias, TypeGuard, get_origin

from msgpack import ExtType, Timestamp

from pluggd.core.arguments import Mismatch
from pluggd.model.record import decode, is_record, record_fields
from pluggd.model.types import Time
from pluggd.services.wiretypes import LISTS, MAPS, parts_of, walk
from pluggd.wire.encoder import encode_value
from pluggd.wire.messages import HELLO, TIMESTAMP

_INT64 = range(-(2**63), 2**63)

Change: TypeAlias = Callable[[Any], Any]


class Times:
    """The times in values of one type."""

    def __init__(self, spot: _Spot) -> None:
        self._spot = spot

    @classmethod
    def of(cls, type_: Any) -> Times | None:
        """None when they have none. type_: or a map of names to types, for maps with
        such values."""
        if _is_map(type_):
            spots = _spots(type_, {})
            return cls(_Fields(spots)) if spots else None
        spot = _spot(type_, {})
        return None if spot is None else cls(spot)

    def leave(self, raw: bytes) -> bytes:
        """The bytes of a value with its times as timestamps, each in its shortest form.

        All else stays as it was. 0 is the epoch: what was never set is mostly absent.
        """
        return encode_value(self._spot.change(decode(raw, object), _to_timestamp))

    def enter(self, value: Any) -> Any:
        """Plain data with its timestamps as integers; it is changed. Raises Mismatch."""
        return self._spot.change(value, _to_int)

    def refuse(self, value: Any) -> None:
        """Raises Mismatch, with the way out, for plain data that has timestamps where
        times are, from a client that did not agree on them."""
        self._spot.change(value, _refuse)


def _to_timestamp(value: Any) -> Any:
    return Timestamp.from_unix_nano(value) if type(value) is int else value


def _to_int(value: Any) -> Any:
    if type(value) is Timestamp:
        nanoseconds = value.to_unix_nano()
        if nanoseconds not in _INT64:
            raise Mismatch(
                "is out of range: times are nanoseconds in int64, from 1677 to 2262"
            )
        return nanoseconds
    if type(value) is ExtType:
        raise Mismatch(
            f"is an extension of type {value.code}; a time is a timestamp (type -1) or"
            " an int of nanoseconds"
        )
    return value


def _refuse(value: Any) -> Any:
    if type(value) is Timestamp:
        raise Mismatch(
            f'is a timestamp; agree on the feature "{TIMESTAMP}" with {HELLO} first, or'
            " send nanoseconds as an int"
        )
    return value


# --- where they are


class _Spot:
    def change(self, value: Any, by: Change) -> Any:
        """The value with its times changed; lists and maps are changed in place."""
        return by(value)


class _All(_Spot):
    """Each value of a list or a map."""

    def __init__(self, element: _Spot) -> None:
        self._element = element

    def change(self, value: Any, by: Change) -> Any:
        keys: Iterable[Any] = ()
        if _is_list(value):
            keys = range(len(value))
        elif _is_map(value):
            keys = value
        for key in keys:
            _change_at(key, value, self._element, by)
        return value


class _Fields(_Spot):
    """Some values of a map, by name."""

    def __init__(self, spots: dict[str, _Spot]) -> None:
        self._spots = spots

    def change(self, value: Any, by: Change) -> Any:
        if _is_map(value):
            for name, spot in self._spots.items():
                if name in value:
                    _change_at(name, value, spot, by)
        return value


class _Each(_Spot):
    """A union: whatever the value is."""

    def __init__(self, spots: list[_Spot]) -> None:
        self._spots = spots

    def change(self, value: Any, by: Change) -> Any:
        for spot in self._spots:
            value = spot.change(value, by)
        return value


def _change_at(key: Any, owner: Any, spot: _Spot, by: Change) -> None:
    try:
        owner[key] = spot.change(owner[key], by)
    except Mismatch as error:
        error.path.insert(0, str(key))
        raise


_Known: TypeAlias = dict[Any, _Spot]


def _spot(type_: Any, known: _Known) -> _Spot | None:
    if Time not in walk(type_):
        return None
    if type_ == Time:
        return _Spot()
    if is_record(type_):
        if type_ not in known:
            spots: dict[str, _Spot] = {}
            known[type_] = _Fields(spots)  # before its fields: it may contain itself
            types = {field.name: field.type for field in record_fields(type_)}
            spots |= _spots(types, known)
        return known[type_]
    inside = [_spot(part, known) for part in parts_of(type_)]
    found = [spot for spot in inside if spot is not None]
    return _All(found[-1]) if get_origin(type_) in (*LISTS, *MAPS) else _Each(found)


def _spots(types: Mapping[str, Any], known: _Known) -> dict[str, _Spot]:
    spots = {name: _spot(type_, known) for name, type_ in types.items()}
    return {name: spot for name, spot in spots.items() if spot is not None}


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return type(value) is list


def _is_map(value: object) -> TypeGuard[dict[Any, Any]]:
    return type(value) is dict
