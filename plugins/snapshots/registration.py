# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How the snapshot service is put together and started."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

from pluggd.plugin import Context, Registration, hookimpl
from pluggd.services.gc import GC
from pluggd.services.metadata import METADATA, SNAPSHOT, ResourceType
from pluggd.services.namespaces import NAMESPACES
from pluggd.services.snapshots import SNAPSHOTS, SNAPSHOTTER, Snapshots

from .catalog import collect
from .checking import Checker
from .cleaning import Cleaner
from .config import Config
from .drivers import Drivers, open_keys
from .figures import snapshot_figures
from .locks import InFlight
from .records import TABLES
from .store import SnapshotStore


@asynccontextmanager
async def start(ctx: Context[Config]) -> AsyncGenerator[Snapshots]:
    metadata = ctx.get(METADATA)
    for table in TABLES:
        await metadata.open_table(table)
    drivers = Drivers(
        ctx.get_all(SNAPSHOTTER), ctx.config.default, lambda: ctx.find(NAMESPACES)
    )
    keys = await open_keys(metadata)
    in_flight = InFlight()
    cleaner = Cleaner(metadata, drivers.all, keys.store, in_flight, ctx.log)
    await cleaner.finish_commits()
    ctx.on_stop(
        metadata.register(
            ResourceType(
                type=SNAPSHOT,
                plural="snapshots",
                collect=collect,
                cleanup=cleaner.cleanup,
                check=Checker(metadata, drivers.all, cleaner, in_flight),
            )
        )
    )
    ctx.export("default", drivers.default)
    ctx.export("snapshotters", " ".join(sorted(drivers.all)))
    ctx.export_figures(partial(snapshot_figures, metadata))
    ctx.spawn(cleaner.reconcile, name="reconcile")
    yield SnapshotStore(
        metadata, drivers, keys, in_flight, cleaner, lambda: ctx.find(GC)
    )


@hookimpl
def pluggd_register() -> Registration[Snapshots, Config]:
    return Registration(
        provides=SNAPSHOTS,
        id="store",
        start=start,
        config=Config,
        requires=(METADATA,),
        wants=(SNAPSHOTTER, GC, NAMESPACES),
        description="Snapshots in namespaces, over any snapshotter",
    )
