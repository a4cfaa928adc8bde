# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How the content store in a bucket is put together and started.

The library of the object store is not imported before the plugin is wanted.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.util import find_spec

from pluggd.plugin import Context, Registration, Skip, hookimpl
from pluggd.services.content import CONTENT, Content
from pluggd.services.gc import GC
from pluggd.services.metadata import METADATA
from pluggd.services.namespaces import NAMESPACES

from .config import Config


@asynccontextmanager
async def start(ctx: Context[Config]) -> AsyncGenerator[Content]:
    if find_spec("obstore") is None:
        raise Skip(
            'the library obstore is not installed: pip install "pluggd[s3]" brings it'
        )
    if not ctx.config.bucket:
        raise Skip(
            'no bucket is configured: set bucket under [plugins."pluggd.content.v1.s3"]'
        )
    from .starting import started

    async with started(ctx) as store:
        yield store


@hookimpl
def pluggd_register() -> Registration[Content, Config]:
    return Registration(
        provides=CONTENT,
        id="s3",
        start=start,
        config=Config,
        requires=(METADATA,),
        wants=(GC, NAMESPACES),
        alternative=True,
        description="Blobs as objects in an S3-compatible bucket",
    )
