# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Field masks: the `fields` of an update, applied to maps.

A field is the name of a part of a record (`labels`), or a map's name, a dot and
a key (`labels.a.b/c`). What follows the first dot is the key as it stands: dots
and slashes belong to it. Which fields a record has is the store's matter; this
module knows only maps and how to name an unknown field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from pluggd.errors import InvalidArgument

V = TypeVar("V")


def masked_map(
    stored: Mapping[str, V],
    requested: Mapping[str, V],
    fields: Iterable[str],
    prefix: str,
    *,
    empty: Callable[[V], bool] = lambda value: not value,
) -> dict[str, V]:
    """What a stored map becomes when `fields` are taken from a request.

    `prefix` itself replaces the whole map, `<prefix>.<key>` one key; a key that is
    named but absent in the request is removed. Other fields are passed over, so a
    store calls this once for each of its maps. Entries for which `empty` holds
    (the empty string) are dropped: they are never stored.
    """
    result = dict(stored)
    start = prefix + "."
    for field in fields:
        if field == prefix:
            result = dict(requested)
        elif field.startswith(start):
            key = field[len(start) :]
            if key in requested:
                result[key] = requested[key]
            else:
                result.pop(key, None)
    return {key: value for key, value in result.items() if not empty(value)}


def check_fields(
    fields: Iterable[str],
    *,
    plain: Iterable[str] = (),
    maps: Iterable[str] = (),
    what: str,
) -> None:
    """Raises InvalidArgument for the first field that the record does not have.

    plain: fields that are named as a whole only. maps: fields of which also a key
    can be named; an empty key is none. `what` ends the message: `image "x"`.
    """
    whole = {*plain, *maps}
    starts = tuple(f"{name}." for name in maps)
    for field in fields:
        if field in whole:
            continue
        if field.startswith(starts) and field not in starts:
            continue
        raise unknown_field(field, what)


def unknown_field(field: str, what: str) -> InvalidArgument:
    """The error for a field that cannot be updated: `what` as in `image "x"`."""
    return InvalidArgument(f'cannot update "{field}" field on {what}: invalid argument')
