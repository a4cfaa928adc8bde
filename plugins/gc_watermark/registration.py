# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How collection by free space is started, and what it says about itself."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

from pluggd.errors import FailedPrecondition
from pluggd.model.figures import gauge
from pluggd.plugin import Context, Registration, hookimpl
from pluggd.services.gc import GC, Gc
from pluggd.services.metadata import METADATA

from .config import Config, settings

LIVE = (
    "start_below",
    "stop_above",
    "check_interval",
    "keep_for",
    "max_interval",
    "batch",
)


@asynccontextmanager
async def start(ctx: Context[Config]) -> AsyncGenerator[Gc]:
    # Here, since most daemons do not select it.
    from pluggd.collecting.service import GcService

    from .watcher import Watcher, space_of

    path = ctx.config.path or str(ctx.root)
    try:
        space_of(path)
    except OSError as error:
        raise FailedPrecondition(
            f'path "{path}" cannot be looked at: {error.strerror}: failed precondition'
        ) from error
    metadata = ctx.get(METADATA)
    watcher = Watcher(metadata, settings(ctx.config), partial(space_of, path), ctx.log)
    ctx.on_stop(metadata.on_change(watcher.changed))
    ctx.export("path", path)

    def reload(config: Config) -> None:
        watcher.reload(settings(config))
        for key in LIVE:
            ctx.export(key, str(getattr(config, key)))

    reload(ctx.config)
    ctx.on_reload(reload)
    ctx.export_figures(watcher.totals.figures)
    ctx.export_figures(
        lambda: [gauge("gc_free_bytes", "Free where it looks.", watcher.policy.free)]
    )
    ctx.spawn(watcher.run_forever, name="gc watermark")
    yield GcService(metadata, watcher)


@hookimpl
def pluggd_register() -> Registration[Gc, Config]:
    return Registration(
        provides=GC,
        id="watermark",
        start=start,
        config=Config,
        requires=(METADATA,),
        description="Collects when the disk fills up",
        live=LIVE,
        alternative=True,
    )
