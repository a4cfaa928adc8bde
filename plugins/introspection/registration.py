# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How the plugin introduces itself and starts."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from pluggd.plugin import Context, NoConfig, Registration, hookimpl
from pluggd.services.daemon import DAEMON
from pluggd.services.introspection import INTROSPECTION, Introspection

from .service import IntrospectionService


@asynccontextmanager
async def start(ctx: Context[NoConfig]) -> AsyncGenerator[Introspection]:
    yield IntrospectionService(ctx.get(DAEMON))


@hookimpl
def pluggd_register() -> Registration[Introspection, NoConfig]:
    return Registration(
        provides=INTROSPECTION,
        id="core",
        start=start,
        requires=(DAEMON,),
        description="What the daemon is, has and can do",
    )
