# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How the check of what is stored becomes a part of the daemon."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from pluggd.plugin import Context, NoConfig, Registration, hookimpl
from pluggd.services.fsck import FSCK, Fsck
from pluggd.services.metadata import METADATA

from .service import FsckService


@asynccontextmanager
async def start(ctx: Context[NoConfig]) -> AsyncGenerator[Fsck]:
    yield FsckService(ctx.get(METADATA), ctx.log)


@hookimpl
def pluggd_register() -> Registration[Fsck, NoConfig]:
    return Registration(
        provides=FSCK,
        id="stores",
        start=start,
        requires=(METADATA,),
        description="Compares what is on the disk with what is recorded",
    )
