# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Makes a kind of your own known to the daemon, for a proxy to provide it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Protocol

from pluggd.model.record import Record
from pluggd.plugin import Context, NoConfig, Registration, hookimpl
from pluggd.services.kind import Kind
from pluggd.services.rpc import rpc


class Greeting(Record, frozen=True):
    text: str = ""


class Greeter(Protocol):
    @rpc(namespaced=False)
    async def greet(self, *, name: str) -> Greeting: ...


GREETER: Kind[Greeter] = Kind("example.greeter.v1", Greeter)


class Guest:
    """Uses a greeter like any other plugin would, wherever it runs."""

    def __init__(self, greeter: Greeter | None) -> None:
        self.greeter = greeter


GUEST = Kind("example.guest.v1", Guest)


@asynccontextmanager
async def start(ctx: Context[NoConfig]) -> AsyncGenerator[Guest]:
    yield Guest(ctx.find(GREETER))


@hookimpl
def pluggd_register() -> Registration[Guest, NoConfig]:
    return Registration(provides=GUEST, id="guest", start=start, wants=(GREETER,))
