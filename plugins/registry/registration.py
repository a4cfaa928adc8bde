# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How the resolver is started, and what it says about itself."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from pluggd.plugin import Context, Registration, hookimpl
from pluggd.services.credentials import CREDENTIALS
from pluggd.services.resolver import RESOLVER, Resolver

from .config import Config
from .credentials import Sources
from .resolver import RegistryResolver
from .totals import Totals


@asynccontextmanager
async def start(ctx: Context[Config]) -> AsyncGenerator[Resolver]:
    config = ctx.config
    plugins = ctx.get_all(CREDENTIALS)
    sources = Sources(config.logins, plugins, config.docker_config)
    totals = Totals()
    ctx.export_figures(totals.figures)
    yield RegistryResolver(config, sources, ctx.log, totals=totals)


@hookimpl
def pluggd_register() -> Registration[Resolver, Config]:
    return Registration(
        provides=RESOLVER,
        id="registry",
        start=start,
        config=Config,
        wants=(CREDENTIALS,),
        description="Talks to registries of images over HTTP",
    )
