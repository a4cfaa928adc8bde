# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""React to what happens: say in the log which images come, without missing one."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from pluggd.model.record import Encoded
from pluggd.plugin import Context, NoConfig, Registration, hookimpl
from pluggd.services.events import EVENTS, EventItem
from pluggd.services.kind import Kind


class Announcer:
    """`subscribe` sends to whatever has a `send`; it waits until that returns."""

    def __init__(self, ctx: Context[NoConfig]) -> None:
        self._log = ctx.log
        self.seen: list[str] = []

    async def send(self, value: Encoded[EventItem], /) -> None:
        item = value.value
        if item.gap is not None:
            # We were away for so long that the log has forgotten: look at everything.
            self._log.warning("missed events %d to %d", item.gap.first, item.gap.last)
        if item.envelope is not None:
            name = item.envelope.event.value["name"]
            self.seen.append(name)
            self._log.info("image %s came to %s", name, item.envelope.namespace)


ANNOUNCER = Kind("example.announcer.v1", Announcer)


@asynccontextmanager
async def start(ctx: Context[NoConfig]) -> AsyncGenerator[Announcer]:
    events = ctx.get(EVENTS)
    announcer = Announcer(ctx)

    async def follow() -> None:
        filters = ['topic=="/images/create"', 'topic=="/images/update"']
        await events.subscribe(filters=filters, out=announcer)

    ctx.spawn(follow)
    yield announcer


@hookimpl
def pluggd_register() -> Registration[Announcer, NoConfig]:
    return Registration(provides=ANNOUNCER, id="log", start=start, requires=(EVENTS,))
