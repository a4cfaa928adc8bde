# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A task that runs as long as the plugin does, and publishes an event now and then."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from pluggd.model.record import Record
from pluggd.model.types import Any
from pluggd.plugin import Context, Registration, hookimpl
from pluggd.services import call
from pluggd.services.events import EVENTS, Events
from pluggd.services.kind import Kind


class Config(Record, frozen=True):
    interval: float = 60.0
    """Seconds between two beats."""


class Heart:
    beats = 0

    async def beat(self, events: Events, interval: float) -> None:
        while True:
            self.beats += 1
            with call.using(namespace="example"):
                beat = Any(type_url="example.Beat", value={"pid": os.getpid()})
                await events.publish(topic="/example/beat", event=beat)
            await trio.sleep(interval)


HEART = Kind("example.heart.v1", Heart)


@asynccontextmanager
async def start(ctx: Context[Config]) -> AsyncGenerator[Heart]:
    heart = Heart()
    ctx.spawn(heart.beat, ctx.get(EVENTS), ctx.config.interval, name="heart")
    try:
        yield heart
    finally:
        # The task is over by now: it was cancelled before this line.
        ctx.log.info("stopped after %d beats", heart.beats)


@hookimpl
def pluggd_register() -> Registration[Heart, Config]:
    return Registration(
        provides=HEART, id="timer", start=start, config=Config, requires=(EVENTS,)
    )
