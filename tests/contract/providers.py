# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The metadata stores on which contracts are tested: the fake, and the real ones."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from pluggd.services.metadata import Metadata
from pluggd.testing import started
from pluggd.testing.memory import memory_metadata
from plugins.metadata.config import Config
from plugins.metadata.registration import pluggd_register as lmdb
from plugins.metadata_sqlite.config import Config as SqliteConfig
from plugins.metadata_sqlite.registration import pluggd_register as sqlite

PROVIDERS = ("memory", "lmdb", "sqlite")


@asynccontextmanager
async def metadata_of(provider: str, root: Path) -> AsyncGenerator[Metadata]:
    """An empty metadata store, or what was left below `root`."""
    if provider == "memory":
        async with memory_metadata() as metadata:
            yield metadata
    elif provider == "lmdb":
        config = Config(reserve_bytes=0)
        async with started(lmdb(), {}, config, root) as (metadata, _):
            yield metadata
    else:
        options = SqliteConfig(reserve_bytes=0)
        async with started(sqlite(), {}, options, root) as (metadata, _):
            yield metadata
