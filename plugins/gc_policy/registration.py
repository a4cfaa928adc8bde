# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How the collection schedule is started, and what it says about itself."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from pluggd.model.durations import format_duration
from pluggd.plugin import Context, Registration, hookimpl
from pluggd.services.gc import GC, Gc
from pluggd.services.metadata import METADATA
from plugins.gc_policy.config import Config, seconds, settings
from plugins.gc_policy.scheduler import Scheduler
from plugins.gc_policy.service import GcService


@asynccontextmanager
async def start(ctx: Context[Config]) -> AsyncGenerator[Gc]:
    chosen = settings(ctx.config)
    full_interval = seconds("full_interval", ctx.config.full_interval)
    ctx.export("pause_threshold", f"{chosen.pause_threshold:g}")
    ctx.export("deletion_threshold", str(chosen.deletion_threshold))
    ctx.export("mutation_threshold", str(chosen.mutation_threshold))
    ctx.export("schedule_delay", format_duration(chosen.schedule_delay))
    ctx.export("startup_delay", format_duration(chosen.startup_delay))
    ctx.export("full_interval", format_duration(full_interval))
    metadata = ctx.get(METADATA)
    scheduler = Scheduler(metadata, chosen, log=ctx.log, full_interval=full_interval)
    ctx.on_stop(metadata.on_change(scheduler.changed))
    ctx.export_figures(scheduler.totals.figures)
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
    )
