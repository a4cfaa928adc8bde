# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How the unpack service is started, and what it needs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from pluggd.plugin import Context, Registration, hookimpl
from pluggd.services.content import CONTENT
from pluggd.services.diff import DIFF
from pluggd.services.images import IMAGES
from pluggd.services.leases import LEASES
from pluggd.services.snapshots import SNAPSHOTS
from pluggd.services.unpack import UNPACK, Unpack

from .backends import Backends
from .config import Config
from .service import UnpackService


@asynccontextmanager
async def start(ctx: Context[Config]) -> AsyncGenerator[Unpack]:
    yield UnpackService(
        Backends(
            content=ctx.get(CONTENT),
            images=ctx.get(IMAGES),
            leases=ctx.get(LEASES),
            snapshots=ctx.get(SNAPSHOTS),
            diff=ctx.get(DIFF),
            config=ctx.config,
        )
    )


@hookimpl
def pluggd_register() -> Registration[Unpack, Config]:
    return Registration(
        provides=UNPACK,
        id="local",
        start=start,
        config=Config,
        requires=(CONTENT, IMAGES, LEASES, SNAPSHOTS, DIFF),
        description="Turns the layers of images into chains of snapshots",
    )
