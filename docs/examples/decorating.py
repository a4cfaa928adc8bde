# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Keeps the images that are named in its options from being deleted."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from pluggd.errors import PermissionDenied
from pluggd.model.record import Record
from pluggd.plugin import Context, Registration, hookimpl
from pluggd.services.images import IMAGES, Image, Images


class Config(Record, frozen=True):
    keep: list[str] = []
    """Names of images that nobody may delete."""


class Kept:
    def __init__(self, images: Images, keep: Sequence[str]) -> None:
        self._images = images
        self._keep = keep
        # What is left as it is, is the other's method itself: as quick as there.
        self.get = images.get
        self.list = images.list
        self.create = images.create

    async def update(self, *, image: Image, fields: Sequence[str] = ()) -> Image:
        return await self._images.update(image=image, fields=fields)

    async def delete(self, *, name: str, sync: bool = False, target: str = "") -> None:
        if name in self._keep:
            raise PermissionDenied(
                f'image "{name}" is in keep of plugin keeper: permission denied'
            )
        await self._images.delete(name=name, sync=sync, target=target)


@asynccontextmanager
async def start(ctx: Context[Config]) -> AsyncGenerator[Images]:
    yield Kept(ctx.decorated(IMAGES), ctx.config.keep)


@hookimpl
def pluggd_register() -> Registration[Images, Config]:
    return Registration(
        provides=IMAGES, id="keeper", start=start, config=Config, decorates=True
    )
