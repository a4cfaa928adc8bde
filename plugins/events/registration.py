# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How the events service is started, and what it says about itself."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

from pluggd.model.durations import format_duration
from pluggd.plugin import Context, Registration, hookimpl
from pluggd.services.events import EVENTS, Events
from pluggd.services.metadata import METADATA

from .appending import Appender
from .config import Config, limits
from .exchange import Exchange
from .figures import event_figures
from .retention import Retention
from .service import EventService


@asynccontextmanager
async def start(ctx: Context[Config]) -> AsyncGenerator[Events]:
    kept = limits(ctx.config)
    metadata = ctx.get(METADATA)
    exchange = Exchange(
        metadata,
        backlog_events=ctx.config.backlog_events,
        backlog_bytes=ctx.config.backlog_bytes,
    )
    retention = Retention(metadata, kept, trimmed=exchange.tail.trimmed, log=ctx.log)
    # Nothing is awaited between the reading of the bounds, above, and this: an event
    # is in the log then or is announced here.
    ctx.on_stop(metadata.on_commit(exchange.committed))
    ctx.on_stop(metadata.on_commit(retention.committed))
    ctx.spawn(retention.run_forever, name="event log retention")
    appender = Appender(metadata)
    ctx.spawn(appender.run_forever, name="event log")
    service = EventService(appender, exchange)
    ctx.export_figures(partial(event_figures, exchange, service))

    def reload(config: Config) -> None:
        kept = limits(config)
        retention.limit(kept)
        exchange.tail.limit(
            max_events=config.backlog_events, max_bytes=config.backlog_bytes
        )
        ctx.export("max_events", str(kept.max_events))
        ctx.export("max_age", format_duration(kept.max_age))
        ctx.export("max_bytes", str(kept.max_bytes))

    reload(ctx.config)
    ctx.on_reload(reload)
    yield service


@hookimpl
def pluggd_register() -> Registration[Events, Config]:
    return Registration(
        provides=EVENTS,
        id="log",
        start=start,
        config=Config,
        requires=(METADATA,),
        description="Delivers what happened, in one order, from a log that can be resumed",
        live=(
            "max_events",
            "max_age",
            "max_bytes",
            "backlog_events",
            "backlog_bytes",
        ),
    )
