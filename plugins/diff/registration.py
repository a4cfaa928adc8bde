# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How the diff service is put together and started."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from pluggd.plugin import Context, Registration, hookimpl
from pluggd.services.content import CONTENT
from pluggd.services.diff import DIFF, Diff

from .config import Config
from .pool import Pool
from .service import DiffService


@asynccontextmanager
async def start(ctx: Context[Config]) -> AsyncGenerator[Diff]:
    pool = Pool(ctx.config.workers, ctx.log)
    ctx.spawn(pool.tend, name="workers")
    try:
        yield DiffService(ctx.get(CONTENT), pool, ctx.config, ctx.log)
    finally:
        await pool.close()


@hookimpl
def pluggd_register() -> Registration[Diff, Config]:
    return Registration(
        provides=DIFF,
        id="walking",
        start=start,
        config=Config,
        requires=(CONTENT,),
        description="Extracts layers, and makes them of two trees",
    )
