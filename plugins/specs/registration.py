# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How the maker of specifications is started."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from pluggd.plugin import Context, NoConfig, Registration, hookimpl
from pluggd.services.content import CONTENT
from pluggd.services.images import IMAGES
from pluggd.services.specs import SPECS, Specs


@asynccontextmanager
async def start(ctx: Context[NoConfig]) -> AsyncGenerator[Specs]:
    from .service import SpecService

    yield SpecService(ctx.get(IMAGES), ctx.get(CONTENT))


@hookimpl
def pluggd_register() -> Registration[Specs, NoConfig]:
    return Registration(
        provides=SPECS,
        id="oci",
        start=start,
        requires=(IMAGES, CONTENT),
        description="Makes OCI runtime specifications from images",
    )
