# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How the shelf is started."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from pluggd.plugin import Context, Registration, hookimpl
from pluggd.services.events import EVENTS
from pluggd.services.images import IMAGES
from pluggd.services.metadata import METADATA

from .config import Config
from .service import SHELF, Shelf
from .store import TABLE, NoteStore


@asynccontextmanager
async def start(ctx: Context[Config]) -> AsyncGenerator[Shelf]:
    metadata = ctx.get(METADATA)
    await metadata.open_table(TABLE)
    store = NoteStore(metadata, ctx.get(IMAGES), ctx.config.max_length)
    events = ctx.get(EVENTS)

    async def forget() -> None:
        filters = ['topic=="/images/delete"']
        await events.subscribe(filters=filters, since=0, out=store)

    ctx.spawn(forget)
    yield store


@hookimpl
def pluggd_register() -> Registration[Shelf, Config]:
    return Registration(
        provides=SHELF,
        id="notes",
        start=start,
        config=Config,
        requires=(METADATA, IMAGES, EVENTS),
        description="notes on images, an example",
    )
