# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How the native snapshotter is put together and started."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from pluggd.plugin import Context, Registration, hookimpl
from pluggd.services.snapshots import SNAPSHOTTER, Snapshotter
from pluggd.snapshotter import LocalSnapshotter

from .config import Config
from .layout import NativeLayout


@asynccontextmanager
async def start(ctx: Context[Config]) -> AsyncGenerator[Snapshotter]:
    snapshotter = LocalSnapshotter(
        ctx.root, NativeLayout(), ctx.log, sync=ctx.config.sync
    )
    await snapshotter.load()
    ctx.export("root", str(ctx.root))
    ctx.spawn(snapshotter.cleanup, name="leftovers")
    yield snapshotter


@hookimpl
def pluggd_register() -> Registration[Snapshotter, Config]:
    return Registration(
        provides=SNAPSHOTTER,
        id="native",
        start=start,
        config=Config,
        description="Snapshots as copies; works everywhere",
    )
