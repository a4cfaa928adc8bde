# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How the overlayfs snapshotter is put together and started, where it can work."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from pluggd.plugin import Context, Registration, hookimpl
from pluggd.services.snapshots import SNAPSHOTTER, Snapshotter
from pluggd.snapshotter import LocalSnapshotter

from .config import Config
from .layout import OverlayLayout
from .remembering import circumstances, recall, remember


@asynccontextmanager
async def start(ctx: Context[Config]) -> AsyncGenerator[Snapshotter]:
    root = ctx.root
    options = await trio.to_thread.run_sync(
        _options, root, ctx.config.mount_options, ctx.state / "worked"
    )
    snapshotter = LocalSnapshotter(
        root, OverlayLayout(options), ctx.log, sync=ctx.config.sync
    )
    await snapshotter.load()
    ctx.export("root", str(root))
    ctx.export("options", ",".join(options))
    ctx.spawn(snapshotter.cleanup, name="leftovers")
    yield snapshotter


def _options(root: Path, extra: Sequence[str], memory: Path) -> tuple[str, ...]:
    """Those with which overlay mounts work, found out once. Raises Skip."""
    now = circumstances(str(root), extra)
    known = recall(memory, now) if now is not None else None
    if known is not None:
        return known
    from .probe import working_options

    # Who is killed while trying leaves something behind: then it is tried again.
    memory.unlink(missing_ok=True)
    options = working_options(str(root), extra)
    if now is not None:
        remember(memory, now, options)
    return options


@hookimpl
def pluggd_register() -> Registration[Snapshotter, Config]:
    return Registration(
        provides=SNAPSHOTTER,
        id="overlayfs",
        start=start,
        config=Config,
        description="Snapshots as layers, joined by the kernel",
    )
