# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How the content store is put together and started."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import trio

from pluggd.plugin import Context, Registration, hookimpl
from pluggd.services.content import CONTENT, Content
from pluggd.services.gc import GC
from pluggd.services.metadata import CONTENT as CONTENT_TYPE
from pluggd.services.metadata import INGEST, METADATA, ResourceType
from pluggd.services.namespaces import NAMESPACES
from plugins.content.catalog import Catalog
from plugins.content.checking import Checker
from plugins.content.cleaning import Cleaner
from plugins.content.committing import Committer
from plugins.content.config import Config
from plugins.content.disk import Disk
from plugins.content.figures import content_figures
from plugins.content.identity import check_identity
from plugins.content.ingests import Ingests
from plugins.content.locks import DigestGuards, RefLocks
from plugins.content.openfiles import OpenFiles
from plugins.content.placing import Placer
from plugins.content.reading import Reader
from plugins.content.records import TABLES
from plugins.content.settling import Settler
from plugins.content.sharing import sharing_rule
from plugins.content.store import ContentStore
from plugins.content.writing import Writer
from plugins.content.young import YoungIngests


@asynccontextmanager
async def start(ctx: Context[Config]) -> AsyncGenerator[Content]:
    config = ctx.config
    metadata = ctx.get(METADATA)
    for table in TABLES:
        await metadata.open_table(table)
    disk = Disk(ctx.root)
    await trio.to_thread.run_sync(disk.prepare)
    empty = await trio.to_thread.run_sync(lambda: not any(disk.list_blobs()))
    await check_identity(metadata, ctx.root, empty=empty)

    catalog = Catalog(
        shareable=sharing_rule(config.policy, lambda: ctx.find(NAMESPACES)),
        ingest_expiry=config.ingest_expiry * 1_000_000_000,
    )
    guards, locks, files = DigestGuards(), RefLocks(), OpenFiles(disk)
    placer = Placer(metadata, disk, catalog, guards)
    reader = Reader(
        metadata,
        disk,
        catalog,
        guards,
        chunk_size=config.chunk_size,
        verify_reads=config.verify_reads,
    )
    ingests = Ingests(metadata, disk, catalog, files)
    committer = Committer(metadata, disk, ingests, placer, files)
    young = YoungIngests(metadata, config.ingest_memory)
    settler = Settler(metadata, catalog, ingests, young, locks, ctx.log)
    writer = Writer(metadata, catalog, ingests, committer, young, settler, locks)
    cleaner = Cleaner(metadata, disk, guards, locks, files, ctx.log)

    ctx.on_stop(
        metadata.register(
            ResourceType(
                type=CONTENT_TYPE,
                plural="blobs",
                collect=catalog.collect_blob,
                cleanup=cleaner.cleanup,
                check=Checker(metadata, disk, catalog, guards, locks),
            )
        )
    )
    ctx.on_stop(
        metadata.register(
            ResourceType(
                type=INGEST,
                plural="ingests",
                collect=catalog.collect_ingest,
                blocks_namespace=False,
            )
        )
    )
    ctx.export_figures(partial(content_figures, metadata, files))
    ctx.export("policy", config.policy)
    ctx.export("root", str(ctx.root))
    if config.policy == "shared":
        ctx.capability("shared")
    ctx.spawn(cleaner.reconcile, name="reconcile")
    ctx.spawn(settler.settle_idle, name="settle idle ingests")
    try:
        yield ContentStore(metadata, catalog, reader, writer, lambda: ctx.find(GC))
    finally:
        await settler.settle_all()
        files.close()


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
