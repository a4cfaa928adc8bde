# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How the metadata store in SQLite is put together, started and closed."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import trio

from pluggd.objects.tables import TABLES
from pluggd.plugin import Context, Registration, hookimpl
from pluggd.services.metadata import METADATA, Metadata

from .config import Config


@asynccontextmanager
async def start(ctx: Context[Config]) -> AsyncGenerator[Metadata]:
    # Most daemons use LMDB and need not load SQLite.
    from pluggd.metastore.figures import metadata_figures
    from pluggd.metastore.schema import migrated

    from .database import Database
    from .store import SqliteMetadata

    config = ctx.config
    path = ctx.root / "meta"
    # In a thread, for after a kill this reads the log; and preparing syncs the disk.
    database = await trio.to_thread.run_sync(Database, path, config.log_bytes)
    try:
        ctx.export("path", str(database.file))
        count = await trio.to_thread.run_sync(database.prepare, TABLES)
        if count:
            ctx.log.info(migrated(count))
        store = SqliteMetadata(
            database, ctx.log, quota=config.quota_bytes, reserve=config.reserve_bytes
        )
    except BaseException:
        database.close()
        raise
    try:
        ctx.export_figures(partial(metadata_figures, store))
        ctx.spawn(store.watch, name="metadata writer")
        yield store
    finally:
        await store.aclose()


@hookimpl
def pluggd_register() -> Registration[Metadata, Config]:
    return Registration(
        provides=METADATA,
        id="sqlite",
        start=start,
        config=Config,
        alternative=True,
        description="Metadata in SQLite: transactions, events, collection",
    )
