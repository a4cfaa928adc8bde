# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
from contextlib import asynccontextmanager

from pluggd.plugin import Registration, hookimpl
from pluggd.services.kind import Kind
from pluggd.services.rpc import rpc


class Hello:
    @rpc(result="text", namespaced=False)
    async def greet(self, *, name: str = "world") -> str:
        return f"hello, {name}"


@asynccontextmanager
async def start(ctx):
    yield Hello()


@hookimpl
def pluggd_register():
    return Registration(provides=Kind("example.hello.v1", Hello), id="me", start=start)
