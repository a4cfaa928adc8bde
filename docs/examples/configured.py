# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Options, a reason to stay away, and a fact to show."""

from __future__ import annotations

import platform
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from pluggd.model.record import Record
from pluggd.plugin import Context, Registration, Skip, hookimpl
from pluggd.services.kind import Kind


class Config(Record, frozen=True):
    system: str = "Linux"
    """The system on which this plugin works, as `uname` says it."""


class Kernel:
    """What this plugin offers to others: no RPC, just an object."""

    def __init__(self, release: str) -> None:
        self.release = release


KERNEL = Kind("example.kernel.v1", Kernel)


@asynccontextmanager
async def start(ctx: Context[Config]) -> AsyncGenerator[Kernel]:
    system = platform.system()
    if system != ctx.config.system:
        raise Skip(f"this is {system}, not {ctx.config.system}")
    kernel = Kernel(platform.release())
    ctx.export("release", kernel.release)
    yield kernel


@hookimpl
def pluggd_register() -> Registration[Kernel, Config]:
    return Registration(provides=KERNEL, id="uname", start=start, config=Config)
