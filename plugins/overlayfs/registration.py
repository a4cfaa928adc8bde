# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How the overlayfs snapshotter is put together and started, where it can work."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from pluggd.plugin import Context, Registration, hookimpl
from pluggd.services.snapshots import SNAPSHOTTER, Snapshotter
from pluggd.snapshotter import LocalSnapshotter

from .config import Config
from .layout import OverlayLayout
from .probe import working_options


@asynccontextmanager
async def start(ctx: Context[Config]) -> AsyncGenerator[Snapshotter]:
    root = ctx.root
    options = await trio.to_thread.run_sync(
        working_options, str(root), ctx.config.mount_options
    )
    snapshotter = LocalSnapshotter(
        root, OverlayLayout(options), ctx.log, sync=ctx.config.sync
    )
    await snapshotter.load()
    ctx.export("root", str(root))
    ctx.export("options", ",".join(options))
    ctx.spawn(snapshotter.cleanup, name="leftovers")
    yield snapshotter


@hookimpl
def pluggd_register() -> Registration[Snapshotter, Config]:
    return Registration(
        provides=SNAPSHOTTER,
        id="overlayfs",
        start=start,
        config=Config,
        description="Snapshots as layers, joined by the kernel",
    )
