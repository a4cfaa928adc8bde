# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A content plugin outside of a daemon: started by hand, over any metadata store."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

import trio

import plugins.metadata.registration as metadata_start
from pluggd.errors import NotFound
from pluggd.model.record import Record
from pluggd.model.types import Platform
from pluggd.services.content import Content
from pluggd.services.kind import Kind
from pluggd.services.metadata import METADATA, Metadata
from plugins.content.config import Config
from plugins.content.registration import start
from plugins.metadata.config import Config as MetadataConfig

T = TypeVar("T")


C = TypeVar("C", bound=Record)


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class HandContext(Generic[C]):
    """The Context that a test gives a plugin. services: what it gets, by kind."""

    uri = "pluggd.content.v1.local"

    def __init__(
        self,
        root: Path,
        config: C,
        services: dict[str, Any],
        nursery: trio.Nursery,
    ) -> None:
        self.root = root
        self.state = root
        self.config = config
        self.services = services
        self.exports: dict[str, str] = {}
        self._nursery = nursery
        self.log = logging.LoggerAdapter(logging.getLogger("test"), {})

    def get(self, kind: Kind[T]) -> T:
        found = self.find(kind)
        if found is None:
            raise NotFound(f"{kind}: not found")
        return found

    def get_all(self, kind: Kind[T]) -> dict[str, T]:
        found = self.find(kind)
        return {} if found is None else {"test": found}

    def find(self, kind: Kind[T]) -> T | None:
        return self.services.get(kind.name)

    def spawn(
        self,
        function: Callable[..., Awaitable[object]],
        *args: object,
        name: str | None = None,
    ) -> None:
        self._nursery.start_soon(function, *args, name=name)

    def export(self, key: str, value: str) -> None:
        self.exports[key] = value

    def capability(self, name: str) -> None:
        pass

    def platform(self, platform: Platform) -> None:
        pass


@asynccontextmanager
async def started_content(
    root: Path,
    metadata: Metadata,
    config: Config = Config(),  # noqa: B008
    **services: Any,
) -> AsyncGenerator[Content]:
    """The running service. services: `pluggd.gc.v1` as `gc=...`, and so on."""
    await trio.Path(root).mkdir(exist_ok=True)
    kinds = {f"pluggd.{name}.v1": value for name, value in services.items()}
    kinds[METADATA.name] = metadata
    async with trio.open_nursery() as nursery:
        ctx: HandContext[Config] = HandContext(root, config, kinds, nursery)
        async with start(ctx) as content:
            yield content
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def started_lmdb(root: Path) -> AsyncGenerator[Metadata]:
    """The bundled metadata store, on disk."""
    await trio.Path(root).mkdir(exist_ok=True)
    async with trio.open_nursery() as nursery:
        config = MetadataConfig()
        ctx: HandContext[MetadataConfig]
        ctx = HandContext(root, config, {}, nursery)
        async with metadata_start.start(ctx) as metadata:
            yield metadata
        nursery.cancel_scope.cancel()
