# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The plugin around the store: its configuration, its start and its end."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from pluggd.errors import DataLoss, InvalidArgument
from pluggd.model.record import Record
from pluggd.objects.tables import TABLES
from pluggd.plugin import Context, Registration, hookimpl
from pluggd.services.metadata import METADATA, Metadata
from plugins.metadata.child import ChildFailed, run
from plugins.metadata.environment import DATA, Environment
from plugins.metadata.store import LmdbMetadata

_SMALLEST_MAP = 1 << 20


class MetadataConfig(Record, frozen=True):
    map_size: int = 1 << 40
    """Address space for the database, in bytes, at least 1 MiB; it takes no disk. It
    bounds the size of the file and cannot grow while the daemon runs. Default 1 TiB."""

    quota_bytes: int = 0
    """Bytes of records beyond which changes are refused, except those that free space.
    0, the default: no bound but the disk and map_size."""

    reserve_bytes: int = 8 << 20
    """Bytes of disk kept allocated ahead of the data, so that deletions and collection
    still work when the disk is full. 0: none. Default 8 MiB."""


@asynccontextmanager
async def start(ctx: Context[MetadataConfig]) -> AsyncGenerator[Metadata]:
    config = ctx.config
    _check(config)
    path = ctx.root / "meta"
    ctx.export("path", str(path / DATA))
    environment = Environment(path, config.map_size)
    try:
        if environment.is_short():
            await _verify(environment)
        # In a thread, for it syncs the disk; in one call, for it writes.
        migrated = await trio.to_thread.run_sync(environment.prepare, TABLES)
        if migrated:
            ctx.log.info("migrated the metadata schema by %d versions", migrated)
        store = LmdbMetadata(
            environment,
            ctx.log,
            quota=config.quota_bytes,
            reserve=config.reserve_bytes,
        )
    except BaseException:
        environment.close()
        raise
    try:
        ctx.spawn(store.watch, name="metadata writer")
        ctx.spawn(store.tend, name="metadata readers")
        yield store
    finally:
        await store.aclose()


def _check(config: MetadataConfig) -> None:
    if config.map_size < _SMALLEST_MAP:
        raise InvalidArgument(
            f"map_size is {config.map_size}, it must be at least {_SMALLEST_MAP}"
        )
    for name in ("quota_bytes", "reserve_bytes"):
        if getattr(config, name) < 0:
            raise InvalidArgument(f"{name} is negative: use 0 for none")


async def _verify(environment: Environment) -> None:
    try:
        await run("verify", str(environment.path), str(environment.map_size))
    except ChildFailed as error:
        raise DataLoss(
            f"metadata {environment.path / DATA} is cut off or damaged "
            f"({error}): restore a backup"
        ) from error


@hookimpl
def pluggd_register() -> Registration[Metadata, MetadataConfig]:
    return Registration(
        provides=METADATA,
        id="lmdb",
        start=start,
        config=MetadataConfig,
        description="Metadata in LMDB: transactions, events, collection",
    )
