# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Functions that somebody wants called, until he does not any more."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def listen(listeners: list[T], function: T) -> Callable[[], None]:
    """Add a function; what is returned takes this one entry out again, once.

    Whoever calls the listeners goes through a copy, so that one may leave meanwhile.
    """
    entry = [function]
    listeners.append(function)

    def undo() -> None:
        if entry:
            listeners.remove(entry.pop())

    return undo
