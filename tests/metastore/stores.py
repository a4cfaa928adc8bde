# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A table, its group and its writer over each engine, without objects on top."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import trio

from pluggd.errors import ResourceExhausted
from pluggd.metastore.engine import Engine
from pluggd.metastore.group import Group
from pluggd.metastore.jobs import Job
from pluggd.metastore.writer import Writer
from pluggd.objects.kv import KV
from plugins.metadata.environment import DATA, Environment
from plugins.metadata.group import Group as LmdbGroup
from plugins.metadata.reserve import Reserve
from plugins.metadata_sqlite.database import Database
from plugins.metadata_sqlite.group import Group as SqliteGroup

LOG = logging.LoggerAdapter(logging.getLogger("test"), {})
ENGINES = ("lmdb", "sqlite")
LOG_BYTES = 256 << 10


def engine_of(name: str, path: Path, tables: Sequence[str] = ("t",)) -> Engine:
    """An open one. Who opens it closes it."""
    if name == "lmdb":
        environment = Environment(path, 1 << 30)
        environment.prepare(tables)
        return environment
    database = Database(path / "meta")
    database.prepare(tables)
    return database


class Store:
    """An engine with one table `t`, its group and its writer."""

    def __init__(self, engine: Engine, group: Group[KV]) -> None:
        self.engine = engine
        self.group = group
        self.delivered: list[Sequence[KV]] = []
        self.writer = Writer(group, self.delivered.append, LOG)

    async def update(
        self,
        function: Callable[[KV], Any],
        *,
        reclaim: bool = False,
        long: bool = False,
    ) -> Any:
        return await self.writer.submit(Job(function, reclaim=reclaim, long=long))

    async def put(self, key: bytes, value: bytes = b"") -> None:
        await self.update(lambda kv: kv.put("t", key, value))

    async def drop(self, key: bytes) -> None:
        await self.update(lambda kv: kv.delete("t", key), reclaim=True)

    def get(self, key: bytes) -> bytes | None:
        txn = self.engine.begin_read()
        try:
            return self.engine.reader(txn).get("t", key)
        finally:
            txn.abort()

    def count(self) -> int:
        """Keys of the table, as a new reader sees them."""
        txn = self.engine.begin_read()
        try:
            return sum(1 for _ in self.engine.reader(txn).seek("t", b""))
        finally:
            txn.abort()


class Opened(Protocol):
    """Opens a store of the engine that the test runs on."""

    def __call__(
        self, path: Path, *, quota: int = 0, reserve: int = 0
    ) -> AbstractAsyncContextManager[Store]: ...


@asynccontextmanager
async def running(engine: Engine, group: Group[KV]) -> AsyncGenerator[Store]:
    store = Store(engine, group)
    try:
        with trio.fail_after(20):
            yield store
            await store.writer.aclose()
    finally:
        engine.close()


@asynccontextmanager
async def opened_lmdb(
    path: Path, *, quota: int = 0, reserve: int = 0, map_size: int = 1 << 30
) -> AsyncGenerator[Store]:
    environment = Environment(path / "meta", map_size)
    environment.prepare(["t"])
    kept = Reserve(path / "meta" / DATA, reserve)
    group = LmdbGroup[KV](environment, kept, lambda kv: kv, LOG, quota=quota)
    async with running(environment, group) as store:
        yield store


@asynccontextmanager
async def opened_sqlite(
    path: Path, *, quota: int = 0, reserve: int = 0
) -> AsyncGenerator[Store]:
    database = Database(path / "meta", LOG_BYTES)
    database.prepare(["t"])
    group = SqliteGroup[KV](database, reserve, lambda kv: kv, LOG, quota=quota)
    async with running(database, group) as store:
        yield store


OPENED: dict[str, Opened] = {"lmdb": opened_lmdb, "sqlite": opened_sqlite}


async def fill(store: Store) -> int:
    """Put until there is no room; how many were acknowledged."""
    for number in range(2000):
        try:
            await store.put(b"%d" % number, bytes(8000))
        except ResourceExhausted:
            return number
    raise AssertionError("there is no bound")


class Gate:
    """Holds the writer thread inside an update until it is opened."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._open = threading.Event()
        self.entered = trio.Event()

    async def __call__(self) -> None:
        token = trio.lowlevel.current_trio_token()

        def wait(kv: KV) -> None:
            del kv
            token.run_sync_soon(self.entered.set)
            self._open.wait(10)

        await self._store.update(wait, long=True)

    def open(self) -> None:
        self._open.set()
