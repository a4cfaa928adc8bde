# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the LMDB store adds to the contract, and the life of its plugin."""

from __future__ import annotations

import errno
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import lmdb
import pytest
import trio

from pluggd.errors import (
    AlreadyExists,
    DataLoss,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    Unavailable,
)
from pluggd.metastore.schema import MIGRATIONS
from pluggd.objects.tables import TABLES
from pluggd.objects.transaction import ObjectTransaction
from pluggd.services.call import namespace, using
from pluggd.services.metadata import (
    FOREVER,
    METADATA,
    Edge,
    Metadata,
    Node,
    ResourceType,
    Transaction,
    View,
)
from pluggd.testing import FakeContext
from plugins.metadata import child
from plugins.metadata.config import Config
from plugins.metadata.environment import DATA, Environment
from plugins.metadata.registration import pluggd_register, start
from plugins.metadata.store import LmdbMetadata

LOG = logging.LoggerAdapter(logging.getLogger("test"), {})


@asynccontextmanager
async def opened(path: Path) -> AsyncGenerator[LmdbMetadata]:
    environment = Environment(path, 1 << 30)
    environment.prepare(TABLES)
    store = LmdbMetadata(environment, LOG)
    with trio.fail_after(20):
        try:
            await store.open_table("t")
            yield store
        finally:
            await store.aclose()


def put(name: str, record: bytes = b"") -> Callable[[Transaction], None]:
    return lambda txn: txn.put("t", "ns", name, record)


def names(view: View) -> list[str]:
    return [name for name, _ in view.scan("t", "ns")]


async def test_updates_of_many_tasks_come_with_their_events_in_one_order(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as store:
        heard: list[tuple[int, bytes]] = []
        returned: list[int] = []
        store.on_commit(heard.extend)

        async def one(number: int) -> None:
            def change(txn: Transaction) -> int:
                txn.put("t", "ns", f"{number:03}", b"")
                seq = txn.emit("ns", "/made", "test.Made", number)
                if number % 10 == 0:
                    raise ValueError
                return seq

            try:
                seq = await store.update(change)
            except ValueError:
                return
            assert seq in [known for known, _ in heard], "returned before it was told"
            returned.append(seq)

        async with trio.open_nursery() as nursery:
            for number in range(200):
                nursery.start_soon(one, number)
        assert sorted(returned) == list(range(1, 181))
        assert [seq for seq, _ in heard] == list(range(1, 181))
        assert list(store.read(lambda view: list(view.events(0)))) == heard
        assert len(store.read(names)) == 180
        assert (await store.statistics()).commits < 100


async def test_calls_inside_a_transaction_join_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:

        async def service() -> list[str]:
            await store.update(put("inner"))
            return await store.view(names)

        def change(txn: Transaction) -> list[str]:
            txn.put("t", "ns", "outer", b"")
            seen = txn.run(service())
            assert store.read(names) == seen
            return seen

        assert await store.update(change) == ["inner", "outer"]

        def fails(txn: Transaction) -> None:
            txn.run(store.update(put("never")))
            raise ValueError("on purpose")

        with pytest.raises(ValueError, match="on purpose"):
            await store.update(fails)
        assert store.read(names) == ["inner", "outer"]


async def test_reads_inside_a_read_see_the_same_state(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        assert store.read(lambda outer: store.read(lambda inner: inner is outer))


async def test_a_function_in_the_writer_thread_sees_namespace_and_lease(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as store:
        with using(namespace="mine"):
            assert await store.update(lambda _: namespace()) == "mine"


async def test_reads_do_not_wait_for_a_writer(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        go = threading.Event()
        entered = trio.Event()
        token = trio.lowlevel.current_trio_token()

        def slow(txn: Transaction) -> None:
            txn.put("t", "ns", "a", b"")
            token.run_sync_soon(entered.set)
            go.wait(10)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(store.update, slow, long=True))
            await entered.wait()
            assert store.read(names) == []
            assert store.pending()
            go.set()
        assert store.read(names) == ["a"]


async def test_a_read_from_a_foreign_thread_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        with pytest.raises(RuntimeError, match="trio thread"):
            await trio.to_thread.run_sync(store.read, names)


async def test_a_listener_that_raises_spoils_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(tmp_path) as store:
        changes: list[bool] = []

        def bad(_: bool) -> None:
            raise ValueError("bad listener")

        store.on_change(bad)
        store.on_change(changes.append)
        await store.update(put("a"))
        assert len(changes) == 1
        assert "bad listener" in caplog.text


async def test_names_of_the_stores_own_tables_are_refused(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        for name in ("objects.nodes", "schema", ""):
            with pytest.raises(InvalidArgument):
                await store.open_table(name)
        await store.open_table("t")
        await store.update(put("a"))


async def test_statistics_count_what_is_there(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        before = await store.statistics()
        for number in range(10):
            await store.update(put(str(number), bytes(5000)))
        figures = await store.statistics()
        assert figures.provider == "lmdb"
        assert figures.entries["t"] == 10
        assert figures.updates - before.updates == 10
        assert figures.commits - before.commits == 10
        assert figures.size >= figures.used > 10 * 5000
        assert figures.commit_time > 0
        assert figures.oldest_reader == 0


async def test_what_is_open_is_counted_while_it_is(tmp_path: Path) -> None:
    go_on = threading.Event()

    def stuck(txn: ObjectTransaction) -> None:
        go_on.wait()

    async with opened(tmp_path) as store:
        held = store.start_update(stuck, long=True)
        waiting = store.start_update(put("a"))
        try:
            with trio.fail_after(20):
                assert (await store.statistics()).open_updates == 2
        finally:
            go_on.set()
        await held.wait()
        await waiting.wait()
        figures = await store.statistics()
        assert (figures.open_reads, figures.open_updates) == (0, 0)


async def test_a_backup_is_a_store_of_its_own(tmp_path: Path) -> None:
    async with opened(tmp_path / "one") as store:
        await store.update(put("a"))
        await store.backup(tmp_path / "two")
        await store.update(put("b"))
        with pytest.raises(AlreadyExists):
            await store.backup(tmp_path / "two")
    async with opened(tmp_path / "two") as copy:
        assert copy.read(names) == ["a"]


async def test_a_commit_that_fails_for_no_known_reason_stops_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never tried again: the second sync could succeed without the first one's pages."""
    commits: list[int] = []

    class Broken:
        def __init__(self, txn: Any) -> None:
            self._txn = txn

        def __getattr__(self, name: str) -> Any:
            return getattr(self._txn, name)

        def commit(self) -> None:
            commits.append(1)
            self._txn.abort()
            raise lmdb.Error("mdb_txn_commit: Input/output error", errno.EIO)

    begin = Environment.begin_write

    def begin_broken(self: Environment) -> Broken:
        return Broken(begin(self))

    async with opened(tmp_path) as store:
        with monkeypatch.context() as patch:

            def last_good(txn: Transaction) -> None:
                txn.put("t", "ns", "a", b"")
                # The transaction after this one has not begun yet.
                patch.setattr(Environment, "begin_write", begin_broken)

            await store.update(last_good, long=True)
            with pytest.raises(Internal, match="Input/output error"):
                await store.update(put("b"), reclaim=True)
        with pytest.raises(Internal):
            await store.update(put("c"))
        with pytest.raises(Internal):
            await store.watch()
        assert len(commits) == 1
        assert store.read(names) == ["a"]
    async with opened(tmp_path) as store:
        assert store.read(names) == ["a"]


# --- collection


async def make_garbage(store: LmdbMetadata, count: int) -> list[Node]:
    """Cycles of two that nothing keeps, a root, and an object that it keeps."""
    store.register(ResourceType("thing", "things", lambda _, node: gone.append(node)))
    gone: list[Node] = []
    await add_garbage(store, count)
    return gone


async def add_garbage(store: LmdbMetadata, count: int) -> None:
    def change(txn: Transaction) -> None:
        for number in range(0, count, 2):
            one, two = (Node("thing", "ns", str(number + i)) for i in (0, 1))
            txn.set_node(one, [Edge(two)])
            txn.set_node(two, [Edge(one)])
        kept = Node("thing", "ns", "kept")
        txn.set_node(kept)
        txn.set_node(Node("root", "ns", "r"), [Edge(kept)], root_until=FOREVER)

    await store.update(change)


async def test_a_full_collection_marks_in_another_process(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        gone = await make_garbage(store, 40)
        stats = await store.collect(full=True)
        assert stats.full
        assert stats.removed == {"thing": 40}
        assert len(gone) == 40
        kept = Node("thing", "ns", "kept")
        assert store.read(lambda view: view.has_node(kept))
        assert (await store.explain(kept)).path[0].how == "root"


async def test_the_mark_finds_what_no_candidate_led_to(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await make_garbage(store, 4)

        def forget(txn: ObjectTransaction) -> None:
            for key, _ in list(txn.graph.candidates(1 << 62)):
                txn.writable_graph.unqueue(key)

        await store.update(forget)
        assert (await store.collect()).removed == {}
        assert (await store.collect(full=True)).removed == {"thing": 4}


async def held_mark(store: LmdbMetadata, nursery: trio.Nursery) -> int:
    """The pid of a mark that was stopped in the middle of its work. One that was over
    before that could be seen is followed by another."""
    over = True

    async def mark() -> None:
        nonlocal over
        try:
            await store.collect(full=True)
        finally:
            over = True

    while True:
        pids = store.environment.readers()
        if pids:
            os.kill(pids[0], signal.SIGSTOP)
            if store.environment.readers() == pids:
                return pids[0]
            os.kill(pids[0], signal.SIGCONT)
        if over:
            over = False
            await add_garbage(store, 10_000)
            nursery.start_soon(mark)
        await trio.lowlevel.checkpoint()


async def test_writers_go_on_during_a_mark(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await make_garbage(store, 2000)
        done = trio.Event()
        updates = 0

        async def write() -> None:
            nonlocal updates
            while not done.is_set():
                await store.update(put(str(updates)))
                updates += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            pid = await held_mark(store, nursery)
            before = updates
            while updates < before + 10:
                await trio.lowlevel.checkpoint()
            os.kill(pid, signal.SIGCONT)
            while store.environment.readers():
                await trio.lowlevel.checkpoint()
            done.set()
        assert store.environment.readers() == []


async def test_a_cancelled_mark_leaves_no_process_and_no_reader(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as store:
        await make_garbage(store, 10_000)
        async with trio.open_nursery() as nursery:
            pid = await held_mark(store, nursery)
            figures = await store.statistics()
            assert figures.oldest_reader > 0
            assert (figures.open_reads, figures.open_updates) == (1, 0)
            nursery.cancel_scope.cancel()
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        assert store.environment.readers() == []
        assert (await store.statistics()).oldest_reader == 0
        assert (await store.collect(full=True)).removed == {"thing": 10_000}


async def test_a_mark_ends_with_its_parent(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await make_garbage(store, 10_000)
        arguments = ("mark", str(tmp_path), str(store.environment.map_size), "0")
        command = child.command(*arguments)
        # Nobody holds the other end of its standard input.
        done = await trio.run_process(
            command, env=child.variables(), stdin=subprocess.DEVNULL, check=False
        )
        assert done.returncode == 1


async def test_a_mark_that_fails_is_an_error_and_removes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path) as store:
        gone = await make_garbage(store, 2)
        monkeypatch.setattr(sys, "executable", "/bin/false")
        with pytest.raises(Internal, match="the full mark failed"):
            await store.collect(full=True)
        assert gone == []


# --- the plugin


@asynccontextmanager
async def hosted(
    root: Path, **config: int
) -> AsyncGenerator[tuple[Metadata, FakeContext[Config]]]:
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            host = FakeContext(
                Config(**config), root=root, nursery=nursery, strict=False
            )
            async with start(host) as metadata:
                yield metadata, host
                nursery.cancel_scope.cancel()


def test_it_registers_as_lmdb() -> None:
    registration = pluggd_register()
    assert registration.provides is METADATA
    assert registration.id == "lmdb"
    assert registration.config is Config


async def test_what_was_stored_is_there_after_a_stop_and_a_start(
    tmp_path: Path,
) -> None:
    async with hosted(tmp_path) as (metadata, _):
        await metadata.open_table("t")
        await metadata.update(put("a", b"1"))
    with pytest.raises(Unavailable, match="stopped"):
        await metadata.update(put("b"))
    async with hosted(tmp_path) as (metadata, host):
        await metadata.open_table("t")
        assert metadata.read(names) == ["a"]
        assert host.crashed == []


async def test_a_crash_of_the_writer_makes_the_plugin_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with hosted(tmp_path) as (metadata, host):
        await metadata.open_table("t")

        def crash(*_: object) -> None:
            raise lmdb.PanicError("mdb_txn_begin")

        with monkeypatch.context() as patch:
            await metadata.update(
                lambda _: patch.setattr(Environment, "begin_write", crash), long=True
            )
            with pytest.raises(Internal):
                await metadata.update(put("a"))
        await host.has_crashed.wait()
        assert [type(error) for error in host.crashed] == [Internal]


async def test_bad_configuration_is_named(tmp_path: Path) -> None:
    for config in ({"map_size": 5}, {"quota_bytes": -1}, {"reserve_bytes": -1}):
        (key,) = config
        with pytest.RaisesGroup(
            pytest.RaisesExc(InvalidArgument, match=key), allow_unwrapped=True
        ):
            async with hosted(tmp_path, **config):
                pass


async def test_a_file_that_was_cut_off_is_refused_and_not_mapped(
    tmp_path: Path,
) -> None:
    async with hosted(tmp_path, reserve_bytes=0) as (metadata, _):
        await metadata.open_table("t")
        for number in range(50):
            await metadata.update(put(str(number), bytes(5000)))
    data = tmp_path / "meta" / DATA
    with data.open("r+b") as file:
        file.truncate(40960)
    with pytest.RaisesGroup(
        pytest.RaisesExc(DataLoss, match=f"{data} is cut off.*restore a backup"),
    ):
        async with hosted(tmp_path):
            pass


async def test_a_short_file_that_lacks_nothing_is_accepted(tmp_path: Path) -> None:
    """LMDB does not write pages that it allots and frees in one transaction."""
    async with hosted(tmp_path, reserve_bytes=0) as (metadata, _):
        await metadata.open_table("t")
        await metadata.update(put("a", bytes(100_000)))
        await metadata.update(lambda txn: txn.delete("t", "ns", "a"))
        await metadata.update(put("b"))
    data = tmp_path / "meta" / DATA
    with data.open("r+b") as file:
        file.truncate(data.stat().st_size - 4096)
    async with hosted(tmp_path) as (metadata, _):
        await metadata.open_table("t")
        assert metadata.read(names) == ["b"]


async def test_a_newer_schema_stops_the_start(tmp_path: Path) -> None:
    newer = Environment(tmp_path / "meta", 1 << 30)
    newer.prepare(TABLES, [*MIGRATIONS, lambda _: None])
    newer.close()
    with pytest.RaisesGroup(
        pytest.RaisesExc(
            FailedPrecondition, match=r"meta/data\.mdb has version 4.*up to 3"
        )
    ):
        async with hosted(tmp_path):
            pass
