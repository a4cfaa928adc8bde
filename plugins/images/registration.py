# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How the image store becomes a part of the daemon: its table, its type of object.

What an image is and what may be done with it is in `store`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from pluggd.plugin import Context, NoConfig, Registration, hookimpl
from pluggd.services.gc import GC
from pluggd.services.images import IMAGES, Images
from pluggd.services.metadata import IMAGE, METADATA, ResourceType

from .store import TABLE, ImageStore, collect


@asynccontextmanager
async def start(ctx: Context[NoConfig]) -> AsyncGenerator[Images]:
    metadata = ctx.get(METADATA)
    await metadata.open_table(TABLE)
    ctx.on_stop(metadata.register(ResourceType(IMAGE, "images", collect=collect)))
    yield ImageStore(metadata, lambda: ctx.find(GC))


@hookimpl
def pluggd_register() -> Registration[Images, NoConfig]:
    return Registration(
        provides=IMAGES,
        id="store",
        start=start,
        requires=(METADATA,),
        wants=(GC,),
        description="Names that point to content",
    )
