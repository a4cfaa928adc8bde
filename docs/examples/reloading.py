# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Options that change while the plugin runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from pluggd.model.record import Record
from pluggd.plugin import Context, Registration, hookimpl
from pluggd.services.kind import Kind


class Config(Record, frozen=True):
    limit: int = 10
    """Things that may be held at a time."""
    path: str = "things"
    """Where they are kept."""


class Things:
    def __init__(self, config: Config) -> None:
        self.path = config.path
        self.limit = config.limit

    def reload(self, config: Config) -> None:
        self.limit = config.limit


THINGS = Kind("example.things.v1", Things)


@asynccontextmanager
async def start(ctx: Context[Config]) -> AsyncGenerator[Things]:
    things = Things(ctx.config)
    ctx.on_reload(things.reload)
    yield things


@hookimpl
def pluggd_register() -> Registration[Things, Config]:
    return Registration(
        provides=THINGS, id="shelf", start=start, config=Config, live=("limit",)
    )
