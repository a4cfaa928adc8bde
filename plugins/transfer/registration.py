# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How the transfer service is started, and what it says about itself."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from pluggd.plugin import Context, Registration, hookimpl
from pluggd.services.content import CONTENT
from pluggd.services.images import IMAGES
from pluggd.services.leases import LEASES
from pluggd.services.metadata import METADATA
from pluggd.services.resolver import RESOLVER
from pluggd.services.transfer import TRANSFER, Transfer
from pluggd.services.unpack import UNPACK

from .backends import Backends
from .config import Config
from .service import TransferService


@asynccontextmanager
async def start(ctx: Context[Config]) -> AsyncGenerator[Transfer]:
    yield TransferService(
        Backends(
            content=ctx.get(CONTENT),
            images=ctx.get(IMAGES),
            leases=ctx.get(LEASES),
            metadata=ctx.get(METADATA),
            config=ctx.config,
            resolver=ctx.find(RESOLVER),
            unpack=ctx.find(UNPACK),
        )
    )


@hookimpl
def pluggd_register() -> Registration[Transfer, Config]:
    return Registration(
        provides=TRANSFER,
        id="local",
        start=start,
        config=Config,
        requires=(METADATA, CONTENT, IMAGES, LEASES),
        wants=(RESOLVER, UNPACK),
        description="Pulls and pushes images, imports and exports archives of them",
    )
