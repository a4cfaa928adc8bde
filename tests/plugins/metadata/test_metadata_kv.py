# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tables of bytes over LMDB, and the environment that holds them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest

from pluggd.errors import DataLoss, FailedPrecondition
from pluggd.objects.kv import KV
from plugins.metadata.environment import DATA, Environment
from plugins.metadata.kv import LmdbWrite

MAP = 1 << 30


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[Environment]:
    environment = Environment(tmp_path / "meta", MAP)
    environment.prepare(["t"])
    yield environment
    environment.close()


@pytest.fixture
def kv(environment: Environment) -> Iterator[LmdbWrite]:
    txn = environment.begin_write()
    yield environment.writer(txn)
    txn.abort()


def test_what_was_put_is_read_back_at_once(kv: LmdbWrite) -> None:
    kv.put("t", b"a", b"1")
    assert kv.get("t", b"a") == b"1"
    assert kv.delete("t", b"a")
    assert not kv.delete("t", b"a")
    assert kv.get("t", b"a") is None


def test_seek_goes_from_start_to_before_stop_in_byte_order(kv: LmdbWrite) -> None:
    for key in (b"b", b"a", b"\xff", b"c", b"a\0"):
        kv.put("t", key, key)
    assert [k for k, _ in kv.seek("t", b"a", b"c")] == [b"a", b"a\0", b"b"]
    assert [k for k, _ in kv.seek("t", b"b")] == [b"b", b"c", b"\xff"]
    assert [k for k, _ in kv.seek("t", b"")] == [b"a", b"a\0", b"b", b"c", b"\xff"]
    assert list(kv.seek("t", b"\xff\xff")) == []
    assert list(kv.seek("t", b"x", b"a")) == []


def test_last_is_the_greatest_key(kv: LmdbWrite) -> None:
    assert kv.last("t") is None
    kv.put("t", b"a", b"1")
    kv.put("t", b"b", b"2")
    assert kv.last("t") == (b"b", b"2")


def test_a_table_that_nobody_opened_is_named(kv: LmdbWrite) -> None:
    with pytest.raises(FailedPrecondition, match='"other" is not open'):
        kv.get("other", b"a")
    with pytest.raises(FailedPrecondition):
        kv.seek("other", b"a")


def test_used_pages_grow_with_what_is_stored(kv: LmdbWrite) -> None:
    before = kv.pages()
    for number in range(100):
        kv.put("t", b"%d" % number, bytes(4000))
    assert kv.pages() >= before + 100


def test_a_fresh_environment_has_the_present_schema(tmp_path: Path) -> None:
    for _ in range(2):
        environment = Environment(tmp_path, MAP)
        assert environment.prepare([]) == 0
        environment.close()


def test_the_files_are_private(environment: Environment) -> None:
    assert environment.path.stat().st_mode & 0o777 == 0o700
    for file in environment.path.iterdir():
        assert file.stat().st_mode & 0o777 == 0o600, file


def test_the_lock_file_has_no_holes(environment: Environment) -> None:
    lock = (environment.path / "lock.mdb").stat()
    assert lock.st_blocks * 512 >= lock.st_size


def test_the_map_is_sparse(tmp_path: Path) -> None:
    environment = Environment(tmp_path, 1 << 40)
    environment.prepare([])
    assert (tmp_path / DATA).stat().st_blocks * 512 < 1 << 20
    environment.close()


def test_a_file_that_is_none_of_lmdb_is_named(tmp_path: Path) -> None:
    (tmp_path / DATA).write_bytes(b"hello" * 4000)
    with pytest.raises(DataLoss, match=f"{tmp_path}.*damaged.*restore a backup"):
        Environment(tmp_path, MAP)


def test_a_file_of_the_other_engine_is_refused(tmp_path: Path) -> None:
    lmdb.open(str(tmp_path), map_size=MAP, lib_version=1).close()
    with pytest.raises(DataLoss, match=r"LMDB 0\.9"):
        Environment(tmp_path, MAP)


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    with lmdb.open(str(tmp_path), map_size=MAP, max_dbs=2, lib_version=0) as other:
        other.open_db(b"theirs")
    environment = Environment(tmp_path, MAP)
    with pytest.raises(
        FailedPrecondition, match=r"data\.mdb belongs to another program"
    ):
        environment.prepare(["t"])
    environment.close()
    with lmdb.open(str(tmp_path), map_size=MAP, max_dbs=2, lib_version=0) as other:
        assert other.dbs() == [b"theirs"]


def test_a_newer_schema_is_refused_with_both_versions(tmp_path: Path) -> None:
    def nothing(kv: KV) -> None:
        del kv

    newer = Environment(tmp_path, MAP)
    newer.prepare([], [nothing, nothing])
    newer.close()
    older = Environment(tmp_path, MAP)
    with pytest.raises(FailedPrecondition, match=r"data\.mdb has version 3, .*up to 2"):
        older.prepare([], [nothing])
    older.close()


def test_migrations_that_are_due_run_once_and_in_order(tmp_path: Path) -> None:
    ran: list[int] = []

    def first(kv: KV) -> None:
        ran.append(1)
        kv.put("t", b"a", (kv.get("t", b"a") or b"") + b"1")

    def second(kv: KV) -> None:
        ran.append(2)
        kv.put("t", b"a", (kv.get("t", b"a") or b"") + b"2")

    for migrations, count in (([], 0), ([first], 1), ([first, second], 1)):
        environment = Environment(tmp_path, MAP)
        assert environment.prepare(["t"], migrations) == count
        environment.close()
    environment = Environment(tmp_path, MAP)
    assert environment.prepare(["t"], [first, second]) == 0
    txn = environment.begin_read()
    assert environment.reader(txn).get("t", b"a") == b"12"
    txn.abort()
    environment.close()
    assert ran == [1, 2]


def test_a_failing_migration_changes_nothing(tmp_path: Path) -> None:
    def bad(kv: KV) -> None:
        kv.put("t", b"a", b"half")
        raise ValueError("bad")

    environment = Environment(tmp_path, MAP)
    environment.prepare(["t"], [])
    environment.close()
    environment = Environment(tmp_path, MAP)
    with pytest.raises(ValueError, match="bad"):
        environment.prepare(["t"], [bad])
    environment.close()
    environment = Environment(tmp_path, MAP)
    assert environment.prepare(["t"], []) == 0
    txn = environment.begin_read()
    assert environment.reader(txn).get("t", b"a") is None
    txn.abort()
    environment.close()


@pytest.mark.filterwarnings("ignore:.*multi-threaded")
def test_a_forked_process_is_refused(environment: Environment) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            environment.begin_read()
        except RuntimeError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    environment.begin_read().abort()
