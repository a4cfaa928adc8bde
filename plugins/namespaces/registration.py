# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How the namespace store becomes a part of the daemon.

What a namespace is and what may be done with it is in `store`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from pluggd.plugin import Context, NoConfig, Registration, hookimpl
from pluggd.services.metadata import METADATA
from pluggd.services.namespaces import NAMESPACES, Namespaces

from .store import TABLE, NamespaceStore


@asynccontextmanager
async def start(ctx: Context[NoConfig]) -> AsyncGenerator[Namespaces]:
    metadata = ctx.get(METADATA)
    await metadata.open_table(TABLE)
    yield NamespaceStore(metadata)


@hookimpl
def pluggd_register() -> Registration[Namespaces, NoConfig]:
    return Registration(
        provides=NAMESPACES,
        id="store",
        start=start,
        requires=(METADATA,),
        description="Names for what belongs together",
    )
