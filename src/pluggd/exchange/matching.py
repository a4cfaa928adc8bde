# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a filter sees of an event: `namespace`, `topic`, and `event.<field>`.

Fields have the names of the payload: `event.name`, `event.runtime.name`,
`event.labels."a.b/c"`. Strings, truth values and whole numbers can be asked for,
the latter two as text; an empty string counts as absent. The payload is decoded
only when a filter looks at it, once for all subscribers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

from pluggd.model.filters import Adaptor
from pluggd.services.envelope import Envelope


def envelope_fields(envelope: Callable[[], Envelope]) -> Adaptor:
    """The adaptor of one event; `envelope` is called only if a field is asked for."""

    def field(path: tuple[str, ...]) -> str | None:
        match path:
            case ("namespace",):
                return envelope().namespace or None
            case ("topic",):
                return envelope().topic or None
            case ("event", *rest) if rest:
                return _lookup(envelope().event.value, rest)
            case _:
                return None

    return field


def _lookup(value: object, path: Sequence[str]) -> str | None:
    """The text at a path. The keys of a map of strings may have dots themselves."""
    if not path:
        return _text(value)
    if not isinstance(value, Mapping):
        return None
    fields = cast(Mapping[object, object], value)
    if len(path) > 1:
        whole = fields.get(".".join(path))
        if isinstance(whole, str):
            return _text(whole)
    return _lookup(fields.get(path[0]), path[1:])


def _text(value: object) -> str | None:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return value or None
        case int():
            return str(value)
        case _:
            return None
