# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The fixture on which the tests of the record stores run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
import trio

from pluggd.services.metadata import Metadata
from pluggd.testing import FakeContext, memory_metadata
from plugins.metadata.config import Config
from plugins.metadata.registration import start as start_lmdb
from plugins.metadata_sqlite.config import Config as SqliteConfig
from plugins.metadata_sqlite.registration import start as start_sqlite
from tests.contract.stand import Stand, stand


@asynccontextmanager
async def memory(path: Path) -> AsyncGenerator[Metadata]:
    async with memory_metadata() as metadata:
        yield metadata


@asynccontextmanager
async def lmdb(path: Path) -> AsyncGenerator[Metadata]:
    config = Config(map_size=1 << 30, reserve_bytes=0)
    async with trio.open_nursery() as nursery:
        context = FakeContext(config, root=path, nursery=nursery)
        async with start_lmdb(context) as metadata:
            yield metadata
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def sqlite(path: Path) -> AsyncGenerator[Metadata]:
    config = SqliteConfig(reserve_bytes=0)
    async with trio.open_nursery() as nursery:
        context = FakeContext(config, root=path, nursery=nursery)
        async with start_sqlite(context) as metadata:
            yield metadata
            nursery.cancel_scope.cancel()


Provider = Callable[[Path], AbstractAsyncContextManager[Metadata]]
PROVIDERS: list[Provider] = [memory, lmdb, sqlite]


@pytest.fixture(params=PROVIDERS, ids=lambda provider: provider.__name__)
async def stores(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncGenerator[Stand]:
    """The four record stores over an empty metadata store of each kind."""
    provider: Provider = request.param
    with trio.fail_after(30):
        async with provider(tmp_path) as metadata, stand(metadata) as started:
            yield started
