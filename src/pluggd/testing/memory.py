# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A metadata store in memory: the fake that passes the real one's contract suite.

It keeps every promise of `pluggd.services.metadata` but durability, so a test of
a store needs no disk. Not a mock: keys, references, events and collection are
the very code that the LMDB plugin runs.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import trio

from pluggd.deferred import Deferred
from pluggd.errors import InvalidArgument, ResourceExhausted
from pluggd.objects.collector import BUDGET, Collector
from pluggd.objects.joined import joined_transaction, joined_view, perform
from pluggd.objects.listeners import listen
from pluggd.objects.tables import CANDIDATES, RESERVED, TABLES
from pluggd.objects.transaction import ObjectTransaction, ObjectView
from pluggd.services.metadata import (
    CollectStats,
    Explanation,
    MetadataStats,
    Node,
    Removed,
    ResourceType,
)
from pluggd.testing.memory_kv import MemoryKV

T = TypeVar("T")


class MemoryMetadata:
    """A `Metadata`. Belongs to the thread that makes it.

    full: while True, updates raise ResourceExhausted unless they reclaim.
    clock: the time of transactions, ns since the epoch.
    budget: time of one step of a collection, ns; 0 for the smallest steps.
    """

    def __init__(
        self, clock: Callable[[], int] = time.time_ns, budget: int = BUDGET
    ) -> None:
        self.full = False
        self.kv = MemoryKV()
        for table in TABLES:
            self.kv.open_table(table)
        self._clock = clock
        self._thread = threading.get_ident()
        self._on_commit: list[Callable[[list[tuple[int, bytes]]], None]] = []
        self._on_change: list[Callable[[bool], None]] = []
        self._updates = 0
        self._log = logging.getLogger("pluggd.testing.memory")
        self._collector = Collector(self, trio.Lock(), self._log, budget=budget)

    async def open_table(self, name: str) -> None:
        if name.startswith(RESERVED) or not name:
            raise InvalidArgument(f'table "{name}": this name is taken by the store')
        self.kv.open_table(name)
        await trio.lowlevel.checkpoint()

    # --- transactions

    def read(self, function: Callable[[ObjectView], T]) -> T:
        joined = joined_view()
        if joined is not None:
            return function(joined)
        self._check_thread()
        return perform(ObjectView(self.kv, self._clock()), function)

    def get(self, table: str, namespace: str, name: str) -> bytes | None:
        return self.read(lambda view: view.get(table, namespace, name))

    async def view(self, function: Callable[[ObjectView], T]) -> T:
        joined = joined_view()
        if joined is not None:
            return function(joined)
        await trio.lowlevel.checkpoint()
        return self.read(function)

    async def update(
        self,
        function: Callable[[ObjectTransaction], T],
        *,
        reclaim: bool = False,
        long: bool = False,
    ) -> T:
        if joined_transaction() is None:
            await trio.lowlevel.checkpoint()
        return self.start_update(function, reclaim=reclaim, long=long).result()

    def start_update(
        self,
        function: Callable[[ObjectTransaction], T],
        *,
        reclaim: bool = False,
        long: bool = False,
    ) -> Deferred[T]:
        del long
        done = Deferred[T]()
        joined = joined_transaction()
        done.succeed(
            self._update(function, reclaim) if joined is None else function(joined)
        )
        return done

    def _update(self, function: Callable[[ObjectTransaction], T], reclaim: bool) -> T:
        self._check_thread()
        if self.full and not reclaim:
            raise ResourceExhausted(
                "no space left for metadata: make room on the disk or delete something"
            )
        self.kv.begin()
        txn = ObjectTransaction(self.kv, self._clock())
        try:
            result = perform(txn, function)
        except BaseException:
            self.kv.roll_back()
            raise
        self._updates += 1
        self._announce(txn)
        return result

    def _check_thread(self) -> None:
        if threading.get_ident() != self._thread:
            raise RuntimeError("metadata belongs to the trio thread")

    def _announce(self, txn: ObjectTransaction) -> None:
        if txn.new_events:
            for on_commit in tuple(self._on_commit):
                on_commit(txn.new_events)
        if txn.timed:
            self._collector.note_expiry()
        if not txn.by_collector:
            released = self._collector.note_commit(txn.released)
            for on_change in tuple(self._on_change):
                on_change(released)

    def on_commit(
        self, function: Callable[[list[tuple[int, bytes]]], None]
    ) -> Callable[[], None]:
        return listen(self._on_commit, function)

    def on_change(self, function: Callable[[bool], None]) -> Callable[[], None]:
        return listen(self._on_change, function)

    # --- collection

    def register(self, resource: ResourceType) -> Callable[[], None]:
        return self._collector.register(resource)

    def resources(self) -> Sequence[ResourceType]:
        return self._collector.resources()

    async def collect(
        self, *, full: bool = False, limit: int = 0, keep_for: float = 0
    ) -> CollectStats:
        return await self._collector.collect(full=full, limit=limit, keep_for=keep_for)

    async def plan(self) -> list[Removed]:
        return await self._collector.plan()

    async def explain(self, node: Node) -> Explanation:
        return await self._collector.explain(node)

    def next_expiry(self) -> int | None:
        return self._collector.next_expiry()

    async def statistics(self) -> MetadataStats:
        return await self.view(self._statistics)

    def _statistics(self, view: ObjectView) -> MetadataStats:
        first, last = view.event_bounds()
        sizes = self.kv.table_sizes()
        return MetadataStats(
            provider="memory",
            commits=self._updates,
            updates=self._updates,
            largest_batch=min(self._updates, 1),
            first_event=first,
            last_event=last,
            candidates=sizes[CANDIDATES],
            entries=sizes,
        )


@asynccontextmanager
async def memory_metadata(
    clock: Callable[[], int] = time.time_ns,
) -> AsyncGenerator[MemoryMetadata]:
    """An empty metadata store for the block. clock: as in `MemoryMetadata`."""
    await trio.lowlevel.checkpoint()
    yield MemoryMetadata(clock)
