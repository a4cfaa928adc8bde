# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How the lease manager becomes a part of the daemon: its table, its type of object.

What a lease is and what may be done with it is in `manager`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from pluggd.plugin import Context, NoConfig, Registration, hookimpl
from pluggd.services.gc import GC
from pluggd.services.leases import LEASES, Leases
from pluggd.services.metadata import LEASE, METADATA, ResourceType

from .manager import TABLE, LeaseManager, collect


@asynccontextmanager
async def start(ctx: Context[NoConfig]) -> AsyncGenerator[Leases]:
    metadata = ctx.get(METADATA)
    await metadata.open_table(TABLE)
    ctx.on_stop(
        metadata.register(
            ResourceType(LEASE, "leases", collect=collect, blocks_namespace=False)
        )
    )
    yield LeaseManager(metadata, lambda: ctx.find(GC), ctx.log)


@hookimpl
def pluggd_register() -> Registration[Leases, NoConfig]:
    return Registration(
        provides=LEASES,
        id="manager",
        start=start,
        requires=(METADATA,),
        wants=(GC,),
        description="What an operation in progress holds is not collected",
    )
