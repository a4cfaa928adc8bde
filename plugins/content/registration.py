# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How the content store over a directory is put together and started."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from pluggd.contents.assembly import open_tables, running
from pluggd.contents.identity import check_identity
from pluggd.plugin import Context, Registration, hookimpl
from pluggd.services.content import CONTENT, Content
from pluggd.services.gc import GC
from pluggd.services.metadata import METADATA
from pluggd.services.namespaces import NAMESPACES

from .config import Config
from .disk import Disk
from .fileblobs import FileBlobs
from .identity import FileMark


@asynccontextmanager
async def start(ctx: Context[Config]) -> AsyncGenerator[Content]:
    metadata = ctx.get(METADATA)
    await open_tables(metadata)
    disk = Disk(ctx.root)
    await trio.to_thread.run_sync(disk.prepare)
    await check_identity(metadata, FileMark(ctx.root, disk))
    async with running(ctx, FileBlobs(disk), disk) as one:
        ctx.spawn(one.cleaner.reconcile, name="reconcile")
        yield one.store


@hookimpl
def pluggd_register() -> Registration[Content, Config]:
    return Registration(
        provides=CONTENT,
        id="local",
        start=start,
        config=Config,
        requires=(METADATA,),
        wants=(GC, NAMESPACES),
        description="Blobs as files, stored once and shared between namespaces",
    )
