# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The metadata store: `services.metadata` over an engine.

Joins the parts: objects (`pluggd.objects`) make the view or transaction that a
function gets, the engine gives it its tables, and the writer thread makes changes
durable. Everything public here is called in the trio thread.
"""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar

import trio

from pluggd.deferred import Deferred
from pluggd.errors import (
    AlreadyExists,
    DataLoss,
    Internal,
    InvalidArgument,
)
from pluggd.metastore.child import ChildFailed
from pluggd.metastore.counters import Counters
from pluggd.metastore.engine import Engine, Txn
from pluggd.metastore.group import Group
from pluggd.metastore.jobs import Job
from pluggd.metastore.schema import SCHEMA_TABLE
from pluggd.metastore.writer import Writer
from pluggd.model.record import decode
from pluggd.objects import keys, tables
from pluggd.objects.collector import Collector
from pluggd.objects.joined import joined_transaction, joined_view, perform
from pluggd.objects.kv import KV
from pluggd.objects.listeners import listen
from pluggd.objects.mark import MarkResult
from pluggd.objects.transaction import ObjectTransaction, ObjectView
from pluggd.services.metadata import (
    CollectStats,
    Explanation,
    MetadataStats,
    Node,
    Removed,
    ResourceType,
)

T = TypeVar("T")
Begin = Callable[[KV], ObjectTransaction]


E = TypeVar("E", bound=Engine)


class StoredMetadata(ABC, Generic[E]):
    """A `Metadata`. The engine has been prepared; `aclose` ends that as well.

    group: makes the group commit of the engine. quota: bytes, for `statistics`.
    """

    def __init__(
        self,
        engine: E,
        group: Callable[[Begin], Group[ObjectTransaction]],
        log: logging.LoggerAdapter[logging.Logger],
        *,
        quota: int = 0,
    ) -> None:
        self._engine = engine
        self._log = log
        self._quota = quota
        self._thread = threading.get_ident()
        self._commit_listeners: list[Callable[[list[tuple[int, bytes]]], None]] = []
        self._change_listeners: list[Callable[[bool], None]] = []
        self._collector = Collector(self, trio.Lock(), log, run_mark=self._mark)
        self._snapshots: list[int] = []
        self._copying = trio.Lock()
        self._group = group(_begin)
        self._writer = Writer(self._group, self._deliver, log)

    # --- what each engine has of its own

    @abstractmethod
    async def _measure(self) -> tuple[dict[str, int], int]:
        """Records by table, and bytes in use. Must not hold the trio thread for long."""

    @abstractmethod
    async def _run_mark(self, now: int) -> bytes:
        """An encoded MarkResult, made in a process beside the daemon.

        Raises ChildFailed.
        """

    @abstractmethod
    async def _verify(self) -> None:
        """Read everything in a process beside the daemon. Raises ChildFailed."""

    # --- tables

    def open_tables(self) -> Sequence[str]:
        """The names of the tables that are open."""
        return list(self._engine.tables)

    def stored_tables(self) -> list[str]:
        """The names of all tables, also of those that nobody opened, sorted."""
        return self._engine.stored_tables()

    async def open_table(self, name: str) -> None:
        if name.startswith(tables.RESERVED) or name == SCHEMA_TABLE or not name:
            raise InvalidArgument(f'table "{name}": this name is taken by the store')
        if name not in self._engine.tables:
            # Most are there already; and a plugin that starts on a full disk is what
            # makes room again. A new one takes a page of what is kept back for that.
            await self._writer.submit(Job(_nothing, table=name, reclaim=True))

    # --- transactions

    def read(self, function: Callable[[ObjectView], T]) -> T:
        joined = joined_view()
        if joined is not None:
            return function(joined)
        engine = self._engine
        txn = self._begin_read()
        try:
            return perform(ObjectView(engine.reader(txn), time.time_ns()), function)
        except engine.errors as error:
            raise engine.unreadable(error) from error
        finally:
            txn.abort()

    def get(self, table: str, namespace: str, name: str) -> bytes | None:
        joined = joined_view()
        if joined is not None:
            return joined.get(table, namespace, name)
        engine = self._engine
        txn = self._begin_read()
        try:
            return keys.get(engine.reader(txn), table, keys.prefix(namespace), name)
        except engine.errors as error:
            raise engine.unreadable(error) from error
        finally:
            txn.abort()

    def _begin_read(self) -> Txn:
        if threading.get_ident() != self._thread:
            raise RuntimeError(
                "metadata can be read in the trio thread and in functions of "
                "transactions; from another thread use trio.from_thread"
            )
        engine = self._engine
        try:
            return engine.begin_read()
        except engine.errors as error:
            raise engine.unreadable(error) from error

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
        joined = joined_transaction()
        if joined is not None:
            return function(joined)
        return await self._writer.submit(
            Job(function, reclaim=reclaim, long=long, through=perform)
        )

    def start_update(
        self,
        function: Callable[[ObjectTransaction], T],
        *,
        reclaim: bool = False,
        long: bool = False,
    ) -> Deferred[T]:
        joined = joined_transaction()
        if joined is not None:
            done = Deferred[T]()
            done.succeed(function(joined))
            return done
        job = Job(function, reclaim=reclaim, long=long, through=perform)
        self._writer.start(job)
        return job

    def pending(self) -> bool:
        """Whether a thread of this store has work that somebody waits for.

        While it is true, a busy event loop must sleep for some microseconds now and
        then, or the thread hardly ever gets the interpreter lock (docs/decisions/0002).
        """
        return self._writer.pending()

    # --- listeners

    def on_commit(
        self, function: Callable[[list[tuple[int, bytes]]], None]
    ) -> Callable[[], None]:
        return listen(self._commit_listeners, function)

    def on_change(self, function: Callable[[bool], None]) -> Callable[[], None]:
        return listen(self._change_listeners, function)

    def _deliver(self, changes: Sequence[ObjectTransaction]) -> None:
        events = [event for change in changes for event in change.new_events]
        if events:
            for on_commit in tuple(self._commit_listeners):
                self._guard(on_commit, events)
        if any(change.timed for change in changes):
            self._collector.note_expiry()
        if all(change.by_collector for change in changes):
            return
        released = self._collector.note_commit(any(c.released for c in changes))
        for on_change in tuple(self._change_listeners):
            self._guard(on_change, released)

    def _guard(self, listener: Callable[[T], None], argument: T) -> None:
        # The change is durable, so neither its author nor the other listeners may
        # suffer from a listener that breaks its promise.
        try:
            listener(argument)
        except Exception:  # noqa: BLE001 - see above
            self._log.exception("a listener of commits failed: %r", listener)

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

    async def _mark(self) -> MarkResult:
        try:
            with self._snapshot():
                output = await self._run_mark(time.time_ns())
        except ChildFailed as error:
            raise Internal(f"the full mark failed: {error}") from error
        finally:
            # One that was killed leaves its slot, and that keeps every page it saw.
            self._engine.reader_check()
        return decode(output, MarkResult)

    # --- figures

    @property
    def counters(self) -> Counters:
        """What the writer counted, as `statistics` tells it."""
        return self._group.figures

    async def statistics(self) -> MetadataStats:
        entries, used = await self._measure()
        engine, figures = self._engine, self._group.figures
        first, last = await self.view(lambda view: view.event_bounds())
        return MetadataStats(
            provider=engine.name,
            path=str(engine.file),
            size=engine.size(),
            used=used,
            quota=self._quota,
            commits=figures.commits,
            updates=figures.updates,
            largest_batch=figures.largest_batch,
            batches=list(figures.batches),
            commit_time=figures.commit_time,
            longest_commit=figures.longest_commit,
            wait_time=figures.wait_time,
            longest_wait=figures.longest_wait,
            handovers=figures.handovers,
            handover_time=figures.handover_time,
            longest_handover=figures.longest_handover,
            oldest_reader=self._oldest_reader(),
            first_event=first,
            last_event=last,
            candidates=entries[tables.CANDIDATES],
            entries=entries,
            open_reads=len(self._snapshots),
            open_updates=self._writer.outstanding,
        )

    def _oldest_reader(self) -> int:
        # All other reads end before anybody could ask for their age.
        if not self._snapshots:
            return 0
        return time.monotonic_ns() - min(self._snapshots)

    @contextmanager
    def _snapshot(self) -> Generator[None]:
        """Count as an open read for the time of the block."""
        begun = time.monotonic_ns()
        self._snapshots.append(begun)
        try:
            yield
        finally:
            self._snapshots.remove(begun)

    # --- the rest of its life

    async def verify(self) -> None:
        """Read everything that is stored, updates going on. Raises DataLoss."""
        try:
            await self._verify()
        except ChildFailed as error:
            raise DataLoss(
                f"metadata {self._engine.file} is damaged ({error}): restore a backup"
            ) from error

    async def backup(self, path: Path) -> None:
        """Write a compacted copy of the database into a new directory `path`.

        Updates go on meanwhile; the copy has the state of its beginning. It is synced
        before this returns. Raises AlreadyExists when the path exists.
        """
        try:
            await trio.Path(path).mkdir(mode=0o700, parents=True)
        except FileExistsError:
            raise AlreadyExists(f"backup {path}: already exists") from None
        async with self._copying:
            with self._snapshot():
                await trio.to_thread.run_sync(self._engine.copy, path)

    async def tend(self) -> None:
        """Free the slots of readers that died, every hour, for ever."""
        while True:
            await trio.sleep(3600)
            freed = self._engine.reader_check()
            if freed:
                self._log.info("freed %d slots of readers that died", freed)

    async def watch(self) -> None:
        """Wait for the end of the writer thread; raise what made it crash."""
        await self._writer.watch()

    async def aclose(self) -> None:
        """Finish the updates that wait, refuse others, close the file."""
        try:
            await self._writer.aclose()
        finally:
            # An environment whose writer hangs in a commit cannot be closed.
            if self._writer.ended:
                # Nor can one that a thread is copying.
                if self._copying.locked():
                    await self._copying.acquire()
                self._engine.close()


def _begin(kv: KV) -> ObjectTransaction:
    return ObjectTransaction(kv, time.time_ns())


def _nothing(_: ObjectTransaction) -> None:
    pass
