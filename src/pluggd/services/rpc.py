# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How a Protocol says which of its methods are served, and in which form.

A served method is `async def`, takes keyword-only parameters and returns a
record or None. Parameters and results are records, str, int, bool, bytes,
`list[...]`, `dict[str, ...]` and unions of one of these with None. Three types are special:

- `Send[T]`: the method sends items while it runs (a stream to the caller);
- `Receive[T]`: the method takes items while it runs (a stream from the caller);
- `Fd`: an open file descriptor, passed beside the message.

A method has at most one of `Send` and one of `Receive`: an item on the wire carries
the number of its call and nothing more.

They are not arguments on the wire; the streams carry `$/item` notifications and
the descriptor travels as SCM_RIGHTS (docs/rpc.md).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Generic, NewType, Protocol, TypeVar, runtime_checkable

from pluggd.model.record import Encoded

F = TypeVar("F", bound=Callable[..., Any])
T_contra = TypeVar("T_contra", contravariant=True)
T_co = TypeVar("T_co", covariant=True)

RPC_ATTRIBUTE = "__pluggd_rpc__"

Fd = NewType("Fd", int)
"""An open descriptor. Whoever receives it, as argument or in a result, closes it."""


class Send(Protocol[T_contra]):
    """Where a method puts its items; `trio.MemorySendChannel` is one.

    `send` waits while the receiver is behind, and raises
    `trio.BrokenResourceError` when there is nobody left.
    """

    async def send(self, value: T_contra, /) -> None: ...


class Batch:
    """Encoded items that go to many receivers.

    What is put in front of each of them is the number of the receiver's call, and
    many have the same one; for those they are joined once. size: bytes of the items.
    """

    __slots__ = ("_framed", "items", "size")

    KEPT = 8

    def __init__(self, items: Sequence[Encoded[Any]]) -> None:
        self.items = items
        self.size = sum(len(item.data) for item in items)
        self._framed: dict[bytes, bytes] = {}

    def framed(self, head: bytes) -> bytes:
        """The items one after the other, `head` in front of each. Not for no items."""
        data = self._framed.get(head)
        if data is None:
            data = head + head.join([item.data for item in self.items])
            if len(self._framed) < self.KEPT:
                self._framed[head] = data
        return data


@runtime_checkable
class SendMany(Protocol[T_contra]):
    """A `Send` that takes several items at once for less; that of the server does.

    The items arrive one by one, as from `send` of each.
    """

    async def send(self, value: T_contra, /) -> None: ...

    async def send_many(self, values: Sequence[T_contra], /) -> None: ...

    def send_now(self, batch: Batch, /) -> bool:
        """Send all of these without waiting; False, with none sent, when the receiver
        is behind or gone. The items must be what `send` takes."""
        ...


class Receive(Protocol[T_co]):
    """Where a method takes items from; `trio.MemoryReceiveChannel` is one."""

    def __aiter__(self) -> AsyncIterator[T_co]: ...


class Unfinished(Generic[T_co]):
    """What an inline method returns that has begun something longer than it may take.

    finish: does the rest; the server runs it as a task, as if the method were one.
    """

    __slots__ = ("finish",)

    def __init__(self, finish: Callable[[], Awaitable[Encoded[T_co]]]) -> None:
        self.finish = finish


class RpcOptions:
    """What `@rpc` was told. `result`: the key that wraps the result on the wire."""

    __slots__ = ("namespaced", "result", "waits")

    def __init__(self, result: str | None, namespaced: bool, waits: bool) -> None:
        self.result = result
        self.namespaced = namespaced
        self.waits = waits


def rpc(
    *, result: str | None = None, namespaced: bool = True, waits: bool = False
) -> Callable[[F], F]:
    """Mark a Protocol method as served.

    result: the response is `{result: value}`; without it the returned record is
        the response map itself, and None is nil.
    namespaced: the call needs a namespace; without one it is refused with
        `failed_precondition: namespace is required` before the method runs.
    waits: the method waits for what may never come, so a daemon that stops ends it at
        once, with `unavailable`, and does not give it the time that other calls get. A
        caller that ends it is not counted as an error.
    """

    def mark(function: F) -> F:
        setattr(function, RPC_ATTRIBUTE, RpcOptions(result, namespaced, waits))
        return function

    return mark
