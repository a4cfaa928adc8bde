# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A service of one's own: a declaration that others import, and what implements it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Protocol

from pluggd.errors import InvalidArgument
from pluggd.model.record import Record
from pluggd.plugin import Context, NoConfig, Registration, hookimpl, inline
from pluggd.services.kind import Kind
from pluggd.services.rpc import Send, rpc


class Square(Record, frozen=True):
    number: int = 0
    square: int = 0


class Squares(Protocol):
    """Squares of whole numbers."""

    @rpc(namespaced=False)
    async def of(self, *, number: int) -> Square:
        """The square of one number."""
        ...

    @rpc(namespaced=False)
    async def count(self, *, to: int, out: Send[Square]) -> None:
        """Send the squares from 1 to `to`. Raises InvalidArgument."""
        ...


SQUARES = Kind("example.squares.v1", Squares)


class Computed:
    @inline  # it never waits: the server calls it without starting a task
    def of(self, *, number: int) -> Square:
        return Square(number=number, square=number * number)

    async def count(self, *, to: int, out: Send[Square]) -> None:
        if to < 1:
            raise InvalidArgument(f"to must be at least 1, got {to}: invalid argument")
        for number in range(1, to + 1):
            await out.send(await self.of(number=number))  # waits for a slow caller


@asynccontextmanager
async def start(ctx: Context[NoConfig]) -> AsyncGenerator[Squares]:
    yield Computed()


@hookimpl
def pluggd_register() -> Registration[Squares, NoConfig]:
    return Registration(provides=SQUARES, id="computed", start=start)
