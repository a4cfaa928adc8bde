# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How a content store is put together and started, over any place for blobs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

from pluggd.contents.blobs import Blobs
from pluggd.contents.catalog import Catalog
from pluggd.contents.checking import Checker
from pluggd.contents.cleaning import Cleaner
from pluggd.contents.committing import Committer
from pluggd.contents.figures import content_figures
from pluggd.contents.ingests import Ingests
from pluggd.contents.inline import Inlined
from pluggd.contents.locks import DigestGuards, RefLocks
from pluggd.contents.openfiles import OpenFiles
from pluggd.contents.options import Options
from pluggd.contents.placing import Placer
from pluggd.contents.reading import Reader
from pluggd.contents.records import TABLES
from pluggd.contents.settling import Settler
from pluggd.contents.sharing import sharing_rule
from pluggd.contents.small import SmallWriter
from pluggd.contents.spool import Spool
from pluggd.contents.store import ContentStore
from pluggd.contents.writing import Writer
from pluggd.contents.young import YoungIngests
from pluggd.plugin import Context
from pluggd.services.gc import GC
from pluggd.services.metadata import CONTENT, INGEST, METADATA, Metadata, ResourceType
from pluggd.services.namespaces import NAMESPACES
from pluggd.struct import Struct


class Running(Struct, frozen=True):
    """A store that runs. Whoever started it spawns `cleaner.reconcile` when the place
    of the blobs can be reached and is known to be its own (`identity`)."""

    store: ContentStore
    cleaner: Cleaner


async def open_tables(metadata: Metadata) -> None:
    for table in TABLES:
        await metadata.open_table(table)


@asynccontextmanager
async def running(
    ctx: Context[Options], blobs: Blobs, spool: Spool
) -> AsyncGenerator[Running]:
    """The store, over tables that are open and a spool that is prepared.

    The plugin requires METADATA and wants GC and NAMESPACES.
    """
    config = ctx.config
    metadata = ctx.get(METADATA)
    catalog = Catalog(
        shareable=sharing_rule(config.policy, lambda: ctx.find(NAMESPACES)),
        ingest_expiry=config.ingest_expiry * 1_000_000_000,
    )
    guards, locks, files = DigestGuards(), RefLocks(), OpenFiles(spool)
    blobs = Inlined(metadata, spool, blobs)
    # With 0 not even an empty one.
    max_inline = config.max_inline or -1
    placer = Placer(metadata, spool, blobs, catalog, guards, max_inline=max_inline)
    reader = Reader(
        metadata,
        blobs,
        catalog,
        guards,
        chunk_size=config.chunk_size,
        verify_reads=config.verify_reads,
    )
    ingests = Ingests(metadata, spool, blobs, catalog, files)
    committer = Committer(
        metadata, spool, ingests, placer, files, max_inline=max_inline
    )
    young = YoungIngests(metadata, config.ingest_memory)
    settler = Settler(metadata, catalog, ingests, young, locks, ctx.log)
    small = SmallWriter(
        metadata, catalog, ingests, young, settler, locks, max_inline=max_inline
    )
    writer = Writer(metadata, catalog, ingests, committer, young, settler, locks, small)
    cleaner = Cleaner(metadata, spool, blobs, catalog, guards, locks, files, ctx.log)

    ctx.on_stop(
        metadata.register(
            ResourceType(
                type=CONTENT,
                plural="blobs",
                collect=catalog.collect_blob,
                cleanup=cleaner.cleanup,
                check=Checker(metadata, spool, blobs, catalog, guards, locks),
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
    ctx.spawn(settler.settle_idle, name="settle idle ingests")
    try:
        store = ContentStore(metadata, catalog, reader, writer, lambda: ctx.find(GC))
        yield Running(store, cleaner)
    finally:
        await settler.settle_all()
        files.close()
