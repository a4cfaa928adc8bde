# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Looking into plain maps that came over the wire, in a way that type checkers follow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

Fields = dict[str, Any]


def is_map(value: object) -> TypeGuard[Fields]:
    """Whether a value is a map; keys on the wire are strings."""
    return isinstance(value, dict)


def map_in(fields: Mapping[str, Any], key: str) -> Fields:
    """A field that is a map; an empty one when it is absent or nil, which mean the same."""
    value: object = fields.get(key)
    return value if is_map(value) else {}
