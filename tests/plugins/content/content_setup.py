# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A content plugin outside of a daemon: started by hand, over any metadata store."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

import plugins.metadata.registration as metadata_start
from pluggd.services.content import Content
from pluggd.services.kind import Kind
from pluggd.services.metadata import METADATA, Metadata
from pluggd.testing import FakeContext
from plugins.content.config import Config
from plugins.content.registration import start
from plugins.metadata.config import Config as MetadataConfig

FILES = Config(max_inline=0)
"""A blob of a few bytes has a file, as a large one has."""

ON_DISK = Config(max_inline=0, ingest_memory=0)
"""So has an ingest of a few bytes, and a record."""


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@asynccontextmanager
async def started_content(
    root: Path,
    metadata: Metadata,
    config: Config = FILES,
    others: Mapping[Kind[Any], Any] = {},
) -> AsyncGenerator[Content]:
    """The running service. others: what else it finds."""
    await trio.Path(root).mkdir(exist_ok=True)
    kinds = {METADATA: metadata, **others}
    async with trio.open_nursery() as nursery:
        ctx = FakeContext(config, kinds, root=root, nursery=nursery)
        async with start(ctx) as content:
            yield content
        ctx.let_go()
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def started_lmdb(root: Path) -> AsyncGenerator[Metadata]:
    """The bundled metadata store, on disk."""
    await trio.Path(root).mkdir(exist_ok=True)
    async with trio.open_nursery() as nursery:
        config = MetadataConfig()
        ctx = FakeContext(config, root=root, nursery=nursery)
        async with metadata_start.start(ctx) as metadata:
            yield metadata
        nursery.cancel_scope.cancel()
