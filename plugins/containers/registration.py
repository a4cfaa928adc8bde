# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How the container store becomes a part of the daemon: its table, its type of object.

What a container is and what may be done with it is in `store`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from pluggd.plugin import Context, NoConfig, Registration, hookimpl
from pluggd.services.containers import CONTAINERS, Containers
from pluggd.services.metadata import CONTAINER, METADATA, ResourceType

from .store import TABLE, ContainerStore


@asynccontextmanager
async def start(ctx: Context[NoConfig]) -> AsyncGenerator[Containers]:
    metadata = ctx.get(METADATA)
    await metadata.open_table(TABLE)
    ctx.on_stop(metadata.register(ResourceType(CONTAINER, "containers")))
    yield ContainerStore(metadata)


@hookimpl
def pluggd_register() -> Registration[Containers, NoConfig]:
    return Registration(
        provides=CONTAINERS,
        id="store",
        start=start,
        requires=(METADATA,),
        description="Records that pin what a task needs",
    )
