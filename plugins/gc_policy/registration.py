# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How the collection schedule is started, and what it says about itself."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from pluggd.collecting.service import GcService
from pluggd.model.durations import format_duration
from pluggd.plugin import Context, Registration, hookimpl
from pluggd.services.gc import GC, Gc
from pluggd.services.metadata import METADATA

from .config import Config, seconds, settings
from .scheduler import Scheduler


@asynccontextmanager
async def start(ctx: Context[Config]) -> AsyncGenerator[Gc]:
    metadata = ctx.get(METADATA)
    scheduler = Scheduler(
        metadata,
        settings(ctx.config),
        log=ctx.log,
        full_interval=seconds("full_interval", ctx.config.full_interval),
    )
    ctx.on_stop(metadata.on_change(scheduler.changed))
    ctx.export_figures(scheduler.totals.figures)

    def export(config: Config) -> None:
        chosen = settings(config)
        ctx.export("pause_threshold", f"{chosen.pause_threshold:g}")
        ctx.export("deletion_threshold", str(chosen.deletion_threshold))
        ctx.export("mutation_threshold", str(chosen.mutation_threshold))
        ctx.export("schedule_delay", format_duration(chosen.schedule_delay))
        ctx.export("startup_delay", format_duration(chosen.startup_delay))
        full_interval = seconds("full_interval", config.full_interval)
        ctx.export("full_interval", format_duration(full_interval))

    def reload(config: Config) -> None:
        scheduler.reload(
            settings(config), seconds("full_interval", config.full_interval)
        )
        export(config)

    export(ctx.config)
    ctx.on_reload(reload)
    ctx.spawn(scheduler.run_forever, name="gc scheduler")
    yield GcService(metadata, scheduler)


@hookimpl
def pluggd_register() -> Registration[Gc, Config]:
    return Registration(
        provides=GC,
        id="scheduler",
        start=start,
        config=Config,
        requires=(METADATA,),
        description="Decides when unreferenced objects are collected",
        live=(
            "pause_threshold",
            "deletion_threshold",
            "mutation_threshold",
            "schedule_delay",
            "full_interval",
        ),
    )
