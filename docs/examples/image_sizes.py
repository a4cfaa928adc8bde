# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Use other services in process: how large is an image, with all its layers?"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Protocol

from pluggd.errors import FailedPrecondition
from pluggd.plugin import Context, NoConfig, Registration, hookimpl
from pluggd.services.content import CONTENT, Content
from pluggd.services.images import IMAGES, Images
from pluggd.services.kind import Kind
from pluggd.services.rpc import rpc


class ImageSizes(Protocol):
    @rpc(result="bytes")
    async def of(self, *, name: str) -> int:
        """Bytes of the layers. Raises NotFound, FailedPrecondition (an index)."""
        ...


SIZES = Kind("example.image_sizes.v1", ImageSizes)


class Measured:
    def __init__(self, images: Images, content: Content) -> None:
        self._images = images
        self._content = content

    async def of(self, *, name: str) -> int:
        # The namespace of the call goes with it; NotFound reaches the caller as it is.
        image = await self._images.get(name=name)
        manifest = await self._content.read(digest=image.target.digest)
        layers = json.loads(manifest.data).get("layers")
        if layers is None:
            raise FailedPrecondition(
                f'image "{name}" is an index, ask for one of its manifests: '
                "failed precondition"
            )
        return sum(layer["size"] for layer in layers)


@asynccontextmanager
async def start(ctx: Context[NoConfig]) -> AsyncGenerator[ImageSizes]:
    yield Measured(ctx.get(IMAGES), ctx.get(CONTENT))


@hookimpl
def pluggd_register() -> Registration[ImageSizes, NoConfig]:
    return Registration(
        provides=SIZES, id="layers", start=start, requires=(IMAGES, CONTENT)
    )
