# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How the plugin introduces itself and starts."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from pluggd.plugin import Context, NoConfig, Registration, hookimpl
from pluggd.services.daemon import DAEMON
from pluggd.services.management import MANAGEMENT, Management

from .service import ManagementService


@asynccontextmanager
async def start(ctx: Context[NoConfig]) -> AsyncGenerator[Management]:
    yield ManagementService(ctx.get(DAEMON))


@hookimpl
def pluggd_register() -> Registration[Management, NoConfig]:
    return Registration(
        provides=MANAGEMENT,
        id="core",
        start=start,
        requires=(DAEMON,),
        description="Restarts, disables and enables plugins, reloads the configuration",
    )
