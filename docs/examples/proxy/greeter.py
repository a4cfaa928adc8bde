# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A plugin in a Python process of its own: `python greeter.py SOCKET`."""

from __future__ import annotations

import sys
from typing import Protocol

import trio

from pluggd.errors import NotFound
from pluggd.model.record import Record
from pluggd.proxy import serve_kind
from pluggd.services.kind import Kind
from pluggd.services.rpc import rpc


class Greeting(Record, frozen=True):
    text: str = ""


class Greeter(Protocol):
    @rpc(namespaced=False)
    async def greet(self, *, name: str) -> Greeting: ...


class Polite:
    async def greet(self, *, name: str) -> Greeting:
        if not name:
            raise NotFound("nobody has no name: not found")
        return Greeting(text=f"hello, {name}")


if __name__ == "__main__":
    kind: Kind[Greeter] = Kind("example.greeter.v1", Greeter)
    trio.run(serve_kind, kind, Polite(), sys.argv[1])
