# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The fixtures on which the tests of the record stores run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

import pytest
import trio

from pluggd.services.containers import Containers
from pluggd.services.images import Images
from pluggd.services.leases import Leases
from pluggd.services.metadata import Metadata
from pluggd.services.namespaces import Namespaces
from pluggd.testing import memory_metadata, running_daemon
from plugins.metadata.registration import MetadataConfig
from plugins.metadata.registration import start as start_lmdb
from tests.contract.stand import Stand, StandContext, stand


@asynccontextmanager
async def memory(path: Path) -> AsyncGenerator[Metadata]:
    async with memory_metadata() as metadata:
        yield metadata


@asynccontextmanager
async def lmdb(path: Path) -> AsyncGenerator[Metadata]:
    config = MetadataConfig(map_size=1 << 30, reserve_bytes=0)
    async with trio.open_nursery() as nursery:
        context = StandContext(config, {}, root=path, nursery=nursery)
        async with start_lmdb(context) as metadata:
            yield metadata
            nursery.cancel_scope.cancel()


class Services(Protocol):
    """What the stand and the client have in common."""

    @property
    def images(self) -> Images: ...

    @property
    def leases(self) -> Leases: ...

    @property
    def containers(self) -> Containers: ...

    @property
    def namespaces(self) -> Namespaces: ...


Provider = Callable[[Path], AbstractAsyncContextManager[Metadata]]
PROVIDERS: list[Provider] = [memory, lmdb]


@pytest.fixture(params=PROVIDERS, ids=lambda provider: provider.__name__)
async def stores(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncGenerator[Stand]:
    """The four record stores over an empty metadata store of each kind."""
    provider: Provider = request.param
    with trio.fail_after(30):
        async with provider(tmp_path) as metadata, stand(metadata) as started:
            yield started


@pytest.fixture(params=["memory", "lmdb", "socket"])
async def services(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncGenerator[Services]:
    """The four services: the stores themselves, and a client of a whole daemon."""
    with trio.fail_after(30):
        if request.param == "socket":
            async with running_daemon(tmp_path) as daemon, daemon.client() as client:
                yield client
        else:
            provider = memory if request.param == "memory" else lmdb
            async with provider(tmp_path) as metadata, stand(metadata) as started:
                yield started
