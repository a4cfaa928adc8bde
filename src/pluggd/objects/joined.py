# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which transaction is under way here, so that what is called inside joins it.

A provider runs every function through `perform`, and asks `joined_view` and
`joined_transaction` first in `read`, `view` and `update`: when they return
something, it calls the function with that at once, without waiting.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

from pluggd.errors import FailedPrecondition

if TYPE_CHECKING:
    from pluggd.objects.transaction import ObjectTransaction, ObjectView

T = TypeVar("T")
V = TypeVar("V", bound="ObjectView")

_current: ContextVar[ObjectView | None] = ContextVar(
    "pluggd.current_transaction", default=None
)


def perform(view: V, function: Callable[[V], T]) -> T:
    """Call the function with a view or a transaction that calls inside it join.

    The view is dead when this returns. For a transaction that succeeded, whatever
    must be done at its end is done (`ObjectTransaction.finish`); the provider then
    commits, or rolls back if this raised.
    """
    token = _current.set(view)
    try:
        result = function(view)
        view.finish()
        return result
    finally:
        _current.reset(token)
        view.close()


def joined_view() -> ObjectView | None:
    """The view or transaction that is under way in this context."""
    return _current.get()


def joined_transaction() -> ObjectTransaction | None:
    """The transaction that is under way in this context.

    Raises FailedPrecondition inside a view, which cannot change anything.
    """
    view = _current.get()
    if view is None:
        return None
    transaction = view.as_transaction()
    if transaction is None:
        raise FailedPrecondition(
            "cannot update inside a view, use update: failed precondition"
        )
    return transaction
