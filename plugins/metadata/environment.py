# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The LMDB environment: how it is opened, what it refuses, what it is made of.

All knowledge of files, flags and sizes is here. It must not know what is stored.
The environment is opened once per process, is never resized (a resize kills the
transactions that are open), and is of no use after a fork.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import lmdb

from pluggd.errors import (
    DataLoss,
    FailedPrecondition,
    Internal,
    PluggdError,
    ResourceExhausted,
    Unavailable,
)
from pluggd.metastore.forks import check_process, forget_after_fork
from pluggd.metastore.room import NO_ROOM, has_room
from pluggd.metastore.schema import (
    MIGRATIONS,
    SCHEMA_TABLE,
    Migration,
    apply_schema,
    foreign,
)

from .kv import LmdbRead, LmdbWrite

if TYPE_CHECKING:
    from .kv import Database, Txn

ENGINE = 0
"""LMDB 0.9, whose files Debian's mdb_* tools read. A file never changes its engine."""

MAX_READERS = 1024
MAX_TABLES = 256
DATA = "data.mdb"
LOCK = "lock.mdb"

_READER_BYTES = 64
OWN_FAULT = (
    lmdb.BadValsizeError,
    lmdb.InvalidParameterError,
    lmdb.BadTxnError,
    lmdb.BadDbiError,
)
"""What LMDB says of a wrong key or of a cursor kept too long: a bug of that update."""


class Environment:
    """One open environment and its tables: an `Engine`."""

    name = "lmdb"
    errors = lmdb.Error
    own_fault = OWN_FAULT
    too_much = (lmdb.TxnFullError,)

    def __init__(self, path: Path, map_size: int) -> None:
        """Open, and make when it is not there.

        Raises DataLoss for a file that is damaged or none of LMDB's,
        ResourceExhausted when there is no room, FailedPrecondition when the
        operating system refuses.
        """
        self.path = path
        self.file = path / DATA
        self.map_size = map_size
        self.tables: dict[str, Database] = {}
        self.forked = False
        self._env = _open(path, map_size)
        self.page_size = self._env.stat()["psize"]
        self._env.reader_check()
        forget_after_fork(self)

    def is_short(self) -> bool:
        """Whether the file ends before its last page.

        A page that was allotted and given back in one transaction is never written, so
        a sound file can be short; in one that was cut off, reading what is missing is
        a SIGBUS. `verify` tells the two apart.
        """
        return (self.path / DATA).stat().st_size < self.size()

    # --- transactions

    def begin_read(self) -> Txn:
        """A read transaction, which any thread may use and somebody must abort."""
        check_process(self)
        return self._env.begin()

    def begin_write(self, parent: Txn | None = None) -> Txn:
        """A write transaction, which the calling thread must end; others may use it."""
        check_process(self)
        return self._env.begin(parent=parent, write=True)

    def reader(self, txn: Txn) -> LmdbRead:
        return LmdbRead(txn, self.tables)

    def writer(self, txn: Txn) -> LmdbWrite:
        return LmdbWrite(txn, self.tables)

    def create_table(self, name: str, txn: Txn) -> Database:
        """Open or make a named table; `add_table` makes it usable after the commit."""
        try:
            return self._env.open_db(name.encode(), txn=txn)
        except lmdb.DbsFullError:
            raise FailedPrecondition(
                f'table "{name}": {MAX_TABLES} tables are open, which is the limit'
            ) from None

    def add_table(self, name: str, database: Database) -> None:
        # A new mapping: other threads may be going through the old one.
        self.tables = {**self.tables, name: database}

    def prepare(
        self, names: Iterable[str], migrations: Sequence[Migration] = MIGRATIONS
    ) -> int:
        """Check the schema, migrate, and make these tables, durably; in one thread.

        Returns how many migrations ran. Raises as `schema.apply`; then nothing changed.
        """
        try:
            with self.begin_write() as txn:
                fresh = self._env.stat()["entries"] == 0
                names = [SCHEMA_TABLE, *names]
                present = [] if fresh else [n.decode() for n in self._env.dbs(txn)]
                opened = {name: self.create_table(name, txn) for name in present}
                if not fresh and SCHEMA_TABLE not in opened:
                    raise foreign(self.file)
                for name in names:
                    if name not in opened:
                        opened[name] = self.create_table(name, txn)
                kv = LmdbWrite(txn, opened)
                ran = apply_schema(kv, self.file, fresh=fresh, migrations=migrations)
        except lmdb.Error as error:
            if self.is_full(error):
                raise ResourceExhausted(
                    f"metadata {self.path}: no room to prepare it: {error}"
                ) from error
            raise DataLoss(
                f"metadata {self.path / DATA} cannot be used ({error}): restore a backup"
            ) from error
        self.tables = {name: opened[name] for name in names}
        return ran

    def stored_tables(self) -> list[str]:
        """The names of all tables in the file, also of those that are not open."""
        with self.begin_read() as txn:
            return sorted(name.decode() for name in self._env.dbs(txn))

    def is_full(self, error: BaseException) -> bool:
        """Whether this failure to write means that there is no room."""
        return isinstance(error, lmdb.Error) and is_full(error, self.path)

    def unreadable(self, error: BaseException) -> PluggdError:
        if isinstance(error, lmdb.ReadersFullError):
            return Unavailable("metadata: every reader slot is taken")
        if isinstance(error, (lmdb.CorruptedError, lmdb.PageNotFoundError)):
            return DataLoss(f"metadata is damaged ({error}): restore a backup")
        return Internal(f"metadata cannot be read: {error}")

    # --- figures

    def measure(self) -> tuple[dict[str, int], int]:
        """Records by table, and bytes in use: LMDB keeps count of both."""
        txn = self.begin_read()
        try:
            kv = self.reader(txn)
            entries = {table: kv.entries(table) for table in sorted(kv.tables())}
            return entries, kv.pages() * self.page_size
        finally:
            txn.abort()

    def size(self) -> int:
        """Bytes of the file that LMDB uses or has used."""
        return (self._env.info()["last_pgno"] + 1) * self.page_size

    def free_bytes(self, reader: LmdbRead) -> int:
        """Bytes inside the file that a later transaction can use again."""
        return max(self.size() - reader.pages() * self.page_size, 0)

    def readers(self) -> list[int]:
        """The processes of the read transactions that are open, also of dead ones."""
        rows = [line.split() for line in self._env.readers().splitlines()[1:]]
        return [int(row[0]) for row in rows if row[2] != "-"]

    def reader_check(self) -> int:
        """Free the slots of readers that died; how many."""
        return self._env.reader_check()

    # --- the rest of its life

    def copy(self, path: Path) -> None:
        """Write a compacted copy into an existing empty directory, commits going on."""
        check_process(self)
        self._env.copy(os.fspath(path), compact=True)

    def close(self) -> None:
        """Idempotent. No transaction may be open."""
        if not self.forked:
            self._env.close()


@contextmanager
def snapshot(path: str, map_size: int) -> Generator[LmdbRead]:
    """All tables in one state, read-only, for a process that has no `Environment`.

    path, map_size: as the process that writes has them.
    """
    with (
        lmdb.open(
            path,
            map_size=map_size,
            max_dbs=MAX_TABLES,
            lib_version=ENGINE,
            readonly=True,
        ) as environment,
        environment.begin() as txn,
    ):
        yield LmdbRead(
            txn,
            {
                name.decode(): environment.open_db(name, txn=txn, create=False)
                for name in environment.dbs(txn)
            },
        )


def is_full(error: lmdb.Error, directory: Path) -> bool:
    """Whether this failure to write means that there is no room.

    LMDB reports a short write, which is how a full disk often shows first, as EIO. So
    EIO counts as full when one more MiB cannot be had either, and as a broken disk
    otherwise.
    """
    if isinstance(error, (lmdb.MapFullError, lmdb.DiskError)):
        return True
    code = error_code(error)
    if code in NO_ROOM:
        return True
    return code == errno.EIO and not has_room(directory)


def error_code(error: lmdb.Error) -> int:
    """The errno or LMDB's own code, 0 when unknown."""
    return getattr(error, "code", 0)


def _open(path: Path, map_size: int) -> lmdb.Environment:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _allocate_lock_file(path / LOCK)
        return lmdb.open(
            os.fspath(path),
            map_size=map_size,
            max_dbs=MAX_TABLES,
            max_readers=MAX_READERS,
            mode=0o600,
            lib_version=ENGINE,
        )
    except (lmdb.InvalidError, lmdb.VersionMismatchError, lmdb.CorruptedError) as error:
        raise DataLoss(
            f"metadata {path / DATA} is damaged or not a file of LMDB 0.9 ({error}): "
            "restore a backup, or move the directory away to start empty"
        ) from error
    except (OSError, lmdb.Error) as error:
        code = error.errno if isinstance(error, OSError) else error_code(error)
        if code in NO_ROOM:
            raise ResourceExhausted(
                f"metadata {path}: no room to open it: {error}"
            ) from error
        hint = ": lower map_size" if code == errno.ENOMEM else ""
        raise FailedPrecondition(
            f"metadata {path} cannot be opened: {error}{hint}"
        ) from error


def _allocate_lock_file(lock: Path) -> None:
    # LMDB maps this file and writes to the map. It makes it sparse, and on a full disk
    # the first write to a hole would be a SIGBUS, so its blocks are taken beforehand.
    # This must not happen while the environment is open: closing any descriptor of the
    # file would release the locks that LMDB holds on it.
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    descriptor = os.open(lock, flags, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, (MAX_READERS + 2) * _READER_BYTES)
    finally:
        os.close(descriptor)
