# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How the events in memory are started, and what they say about themselves."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

from pluggd.plugin import Context, Registration, hookimpl
from pluggd.services.events import EVENTS, Events
from pluggd.services.metadata import METADATA

from .config import Config


@asynccontextmanager
async def start(ctx: Context[Config]) -> AsyncGenerator[Events]:
    # Here, since most daemons do not select it.
    from .draining import Drain
    from .figures import event_figures
    from .ring import Ring, first_number
    from .service import MemoryEvents

    ctx.capability("not-durable")
    metadata = ctx.get(METADATA)
    before = await first_number(metadata)
    ring = Ring(
        before,
        backlog_events=ctx.config.max_events,
        backlog_bytes=ctx.config.max_bytes,
    )
    drain = Drain(metadata, ctx.log)
    # What is committed from here on is told; what was before is over.
    ctx.on_stop(metadata.on_commit(ring.stored))
    ctx.on_stop(metadata.on_commit(drain.stored))
    ctx.spawn(drain.run_forever, name="event log drain")
    service = MemoryEvents(ring)
    ctx.export_figures(partial(event_figures, ring, service, before))

    def reload(config: Config) -> None:
        ring.tail.limit(max_events=config.max_events, max_bytes=config.max_bytes)
        ctx.export("max_events", str(config.max_events))
        ctx.export("max_bytes", str(config.max_bytes))

    reload(ctx.config)
    ctx.on_reload(reload)
    yield service


@hookimpl
def pluggd_register() -> Registration[Events, Config]:
    return Registration(
        provides=EVENTS,
        id="memory",
        start=start,
        config=Config,
        requires=(METADATA,),
        description="Delivers what happened, in one order, from memory alone",
        live=("max_events", "max_bytes"),
        alternative=True,
    )
