# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How the metadata store is put together, started and closed."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import trio

from pluggd.errors import DataLoss
from pluggd.metastore.schema import migrated
from pluggd.objects.tables import TABLES
from pluggd.plugin import Context, Registration, hookimpl
from pluggd.services.metadata import METADATA, Metadata

from .child import ChildFailed, run
from .config import Config
from .environment import DATA, Environment
from .figures import lmdb_figures
from .store import LmdbMetadata


@asynccontextmanager
async def start(ctx: Context[Config]) -> AsyncGenerator[Metadata]:
    config = ctx.config
    path = ctx.root / "meta"
    ctx.export("path", str(path / DATA))
    environment = Environment(path, config.map_size)
    try:
        if environment.is_short():
            await _verify(environment)
        # In a thread, for it syncs the disk; in one call, for it writes.
        count = await trio.to_thread.run_sync(environment.prepare, TABLES)
        if count:
            ctx.log.info(migrated(count))
        store = LmdbMetadata(
            environment,
            ctx.log,
            quota=config.quota_bytes,
            reserve=config.reserve_bytes,
        )
    except BaseException:
        environment.close()
        raise
    try:
        ctx.export_figures(partial(lmdb_figures, store))
        ctx.spawn(store.watch, name="metadata writer")
        ctx.spawn(store.tend, name="metadata readers")
        yield store
    finally:
        await store.aclose()


async def _verify(environment: Environment) -> None:
    try:
        await run("verify", str(environment.path), str(environment.map_size))
    except ChildFailed as error:
        raise DataLoss(
            f"metadata {environment.path / DATA} is cut off or damaged "
            f"({error}): restore a backup"
        ) from error


@hookimpl
def pluggd_register() -> Registration[Metadata, Config]:
    return Registration(
        provides=METADATA,
        id="lmdb",
        start=start,
        config=Config,
        description="Metadata in LMDB: transactions, events, collection",
    )
