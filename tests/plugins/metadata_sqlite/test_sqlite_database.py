# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The database of SQLite: what it refuses, what it keeps, and the life of its plugin."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
import trio

from pluggd.errors import (
    AlreadyExists,
    DataLoss,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    ResourceExhausted,
)
from pluggd.metastore.schema import MIGRATIONS
from pluggd.objects.kv import KV
from pluggd.objects.tables import TABLES
from pluggd.services.metadata import Transaction, View
from pluggd.testing import started
from plugins.metadata_sqlite.config import Config
from plugins.metadata_sqlite.database import Database
from plugins.metadata_sqlite.files import DATA, LOG
from plugins.metadata_sqlite.kv import SqliteWrite
from plugins.metadata_sqlite.registration import pluggd_register
from plugins.metadata_sqlite.store import SqliteMetadata
from plugins.metadata_sqlite.transactions import SqliteTxn


@asynccontextmanager
async def hosted(root: Path, **options: int) -> AsyncGenerator[SqliteMetadata]:
    config = Config(**{"reserve_bytes": 0, **options})
    with trio.fail_after(20):
        async with started(pluggd_register(), {}, config, root) as (metadata, _):
            assert isinstance(metadata, SqliteMetadata)
            await metadata.open_table("t")
            yield metadata


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "meta")
    database.prepare(["t"])
    yield database
    database.close()


@pytest.fixture
def kv(database: Database) -> Iterator[SqliteWrite]:
    txn = database.begin_write()
    yield database.writer(txn)
    txn.abort()


def put(name: str, record: bytes = b"") -> Callable[[Transaction], None]:
    return lambda txn: txn.put("t", "ns", name, record)


def drop(name: str) -> Callable[[Transaction], bool]:
    return lambda txn: txn.delete("t", "ns", name)


def names(view: View) -> list[str]:
    return [name for name, _ in view.scan("t", "ns")]


# --- tables


def test_seek_goes_from_start_to_before_stop_in_byte_order(kv: SqliteWrite) -> None:
    for key in (b"b", b"a", b"\xff", b"c", b"a\0"):
        kv.put("t", key, key)
    assert [k for k, _ in kv.seek("t", b"a", b"c")] == [b"a", b"a\0", b"b"]
    assert [k for k, _ in kv.seek("t", b"")] == [b"a", b"a\0", b"b", b"c", b"\xff"]
    assert kv.last("t") == (b"\xff", b"\xff")
    assert next(kv.descending("t")) == (b"\xff", b"\xff")
    assert list(kv.seek("t", b"x", b"a")) == []


def test_a_wrong_key_is_refused_and_a_table_that_nobody_opened_is_named(
    kv: SqliteWrite,
) -> None:
    for key in (b"", b"x" * 512):
        with pytest.raises(sqlite3.DataError, match="1 to 511"):
            kv.put("t", key, b"")
    with pytest.raises(FailedPrecondition, match='"other" is not open'):
        kv.get("other", b"a")


def test_a_read_keeps_its_state_while_others_commit(database: Database) -> None:
    def write(key: bytes) -> None:
        txn = database.begin_write()
        database.writer(txn).put("t", key, b"1")
        txn.commit()

    write(b"a")
    txn = database.begin_read()
    reader = database.reader(txn)
    assert reader.get("t", b"a") == b"1"
    write(b"b")
    assert reader.get("t", b"b") is None
    txn.abort()
    txn = database.begin_read()
    assert database.reader(txn).get("t", b"b") == b"1"
    txn.abort()


def test_a_listing_that_was_left_open_does_not_hold_its_state(
    database: Database,
) -> None:
    """Else the log could never be moved into the database again."""
    txn = database.begin_write()
    for number in range(1000):
        database.writer(txn).put("t", b"%d" % number, bytes(100))
    txn.commit()
    txn = database.begin_read()
    listing = database.reader(txn).seek("t", b"")
    next(listing)
    txn.abort()
    with closing(sqlite3.connect(database.file, timeout=0)) as other:
        assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0


def test_what_comes_after_sqlite_gave_up_is_no_transaction_of_its_own(
    database: Database,
) -> None:
    txn = database.begin_write()
    writer = database.writer(txn)
    writer.put("t", b"a", b"1")
    txn.connection.execute("ROLLBACK")  # as SQLite does after some errors
    with pytest.raises(sqlite3.OperationalError, match="rolled back"):
        writer.put("t", b"b", b"1")
    with pytest.raises(sqlite3.OperationalError, match="rolled back"):
        txn.commit()
    txn.abort()
    txn = database.begin_read()
    assert list(database.reader(txn).seek("t", b"")) == []
    txn.abort()


def test_an_abort_that_comes_late_leaves_the_next_transaction_alone(
    database: Database,
) -> None:
    first = database.begin_write()
    database.writer(first).put("t", b"a", b"1")
    first.commit()
    second = database.begin_write()
    first.abort()
    database.writer(second).put("t", b"b", b"1")
    second.commit()


# --- files


def test_every_commit_is_synced(database: Database) -> None:
    connection = database.begin_write().connection
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    connection.execute("ROLLBACK")


def test_the_files_are_private(database: Database) -> None:
    assert database.path.stat().st_mode & 0o777 == 0o700
    files = list(database.path.iterdir())
    assert len(files) >= 3
    for file in files:
        assert file.stat().st_mode & 0o777 == 0o600, file


def test_a_second_process_is_refused(database: Database) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from plugins.metadata_sqlite.database import Database\n"
        "Database(Path(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(database.path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "in use by another process" in done.stderr


def test_a_file_that_is_none_of_sqlite_is_named_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / DATA).write_bytes(b"hello" * 4000)
    with pytest.raises(DataLoss, match=f"{tmp_path}.*damaged.*restore a backup"):
        Database(tmp_path)
    assert (tmp_path / DATA).read_bytes() == b"hello" * 4000


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / DATA)) as other:
        other.execute("CREATE TABLE theirs (a)")
        other.commit()
    before = (tmp_path / DATA).read_bytes()
    with pytest.raises(FailedPrecondition, match=r"metadata\.db belongs to another"):
        Database(tmp_path)
    assert (tmp_path / DATA).read_bytes() == before


def test_a_database_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    database = Database(tmp_path)
    database.prepare(TABLES)
    txn = database.begin_write()
    for number in range(100):
        database.writer(txn).put(TABLES[0], b"%d" % number, bytes(4000))
    txn.commit()
    database.close()
    for file in tmp_path.iterdir():
        if file.name != DATA:
            file.unlink()
    os.truncate(tmp_path / DATA, 40960)
    with pytest.raises(DataLoss, match="restore a backup"):
        Database(tmp_path).prepare(TABLES)


def test_a_newer_schema_is_refused_with_both_versions(tmp_path: Path) -> None:
    newer = Database(tmp_path)
    newer.prepare([], [*MIGRATIONS, lambda _: None])
    newer.close()
    older = Database(tmp_path)
    with pytest.raises(
        FailedPrecondition, match=r"metadata\.db has version 4, .*up to 3"
    ):
        older.prepare([])
    older.close()


def test_a_failing_migration_changes_nothing(tmp_path: Path) -> None:
    def bad(kv: KV) -> None:
        kv.put("t", b"a", b"half")
        raise ValueError("bad")

    database = Database(tmp_path)
    database.prepare(["t"], [])
    database.close()
    database = Database(tmp_path)
    with pytest.raises(ValueError, match="bad"):
        database.prepare(["t"], [bad])
    assert database.prepare(["t"], []) == 0
    txn = database.begin_read()
    assert database.reader(txn).get("t", b"a") is None
    txn.abort()
    database.close()


@pytest.mark.filterwarnings("ignore:.*multi-threaded")
def test_a_forked_process_is_refused(database: Database) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            database.begin_read()
        except RuntimeError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    database.begin_read().abort()


# --- the store


async def test_what_was_stored_is_there_after_a_stop_and_a_start(
    tmp_path: Path,
) -> None:
    async with hosted(tmp_path) as store:
        await store.update(put("a"))
    async with hosted(tmp_path) as store:
        assert store.read(names) == ["a"]
        figures = await store.statistics()
        assert (figures.provider, figures.entries["t"]) == ("sqlite", 1)
        assert 0 < figures.used <= figures.size


async def test_a_backup_is_a_store_of_its_own(tmp_path: Path) -> None:
    async with hosted(tmp_path / "one") as store:
        await store.update(put("a"))

        async def write() -> None:
            for number in range(100):
                await store.update(put(f"later-{number}"))

        async with trio.open_nursery() as nursery:
            await store.backup(tmp_path / "two" / "meta")
            nursery.start_soon(write)
        with pytest.raises(AlreadyExists):
            await store.backup(tmp_path / "two" / "meta")
    async with hosted(tmp_path / "two") as copy:
        assert copy.read(names) == ["a"]


async def test_the_log_stays_within_its_length_and_what_is_read_is_not_old(
    tmp_path: Path,
) -> None:
    async with hosted(tmp_path, log_bytes=128 << 10, reserve_bytes=1 << 20) as store:
        for number in range(300):
            await store.update(put(f"{number:03}", bytes(4000)))
            assert len(store.read(names)) == number + 1
        log = tmp_path / "meta" / LOG
        assert log.stat().st_size <= (128 << 10) + (1 << 20) + (64 << 10)


async def test_the_quota_refuses_growth_and_lets_reclaiming_updates_through(
    tmp_path: Path,
) -> None:
    async with hosted(tmp_path, quota_bytes=1 << 20) as store:
        stored = 0

        async def fill() -> None:
            nonlocal stored
            while stored < 2000:
                await store.update(put(str(stored), bytes(8000)))
                stored += 1

        with pytest.raises(ResourceExhausted, match=r"quota is full: \d+ .* 1048576"):
            await fill()
        assert 64 < stored < 130
        for number in range(stored):
            await store.update(drop(str(number)), reclaim=True)
        await store.update(put("more", bytes(20_000)))


async def test_a_commit_that_fails_for_no_known_reason_stops_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits: list[int] = []

    def fails(self: SqliteTxn) -> None:
        commits.append(1)
        self.abort()
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
        raise error

    with pytest.RaisesGroup(Internal, allow_unwrapped=True, flatten_subgroups=True):
        async with hosted(tmp_path) as store:
            await store.update(put("a"))
            monkeypatch.setattr(SqliteTxn, "commit", fails)
            with pytest.raises(Internal, match="disk I/O error"):
                await store.update(put("b"), reclaim=True)
            with pytest.raises(Internal):
                await store.update(put("c"))
            assert len(commits) == 1
            assert store.read(names) == ["a"]
    monkeypatch.undo()
    async with hosted(tmp_path) as store:
        assert store.read(names) == ["a"]


async def test_a_full_mark_runs_beside_updates_and_leaves_no_reader(
    tmp_path: Path,
) -> None:
    async with hosted(tmp_path) as store:
        done = trio.Event()
        updates = 0

        async def write() -> None:
            nonlocal updates
            while not done.is_set():
                await store.update(put(f"{updates}"))
                updates += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            await store.collect(full=True)
            done.set()
        assert updates > 10
        assert (await store.statistics()).oldest_reader == 0


async def test_bad_configuration_is_named(tmp_path: Path) -> None:
    for config in ({"log_bytes": 5}, {"quota_bytes": -1}, {"reserve_bytes": -1}):
        (key,) = config
        with pytest.raises(InvalidArgument, match=key):
            Config(**config)


def test_a_short_write_counts_as_a_full_disk_only_when_it_is_full(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE
    assert not database.is_full(error)

    def full(*_: object) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(os, "posix_fallocate", full)
    assert database.is_full(error)
