# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Plain values that stay inside of the process: what a dataclass is, for modules that
each start imports.

`dataclass` compiles source text for each class, which takes half a millisecond; the
fifty of a start were an eighth of it. A `Struct` is made in C. What is stored, sent or
configured is a `Record` (`pluggd.model.record`), which is one too.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from msgspec import Struct as Struct
from msgspec import field as field

S = TypeVar("S", bound=Struct)


def replace(value: S, **changes: Any) -> S:
    """A copy with some fields changed."""
    return msgspec.structs.replace(value, **changes)


def as_map(value: Struct) -> dict[str, Any]:
    """The fields by name; what they hold is not taken apart."""
    return msgspec.structs.asdict(value)


def settle(value: Struct, name: str, to: object) -> None:
    """Change a field of a frozen value, in its own `__post_init__`."""
    msgspec.structs.force_setattr(value, name, to)
