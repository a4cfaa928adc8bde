# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The database of SQLite: how it is opened, what it refuses, what it is made of.

In WAL mode with synchronous=FULL: a commit is durable when the log is synced, readers
see the state of their begin and neither wait nor keep anybody waiting. The page cache
never spills into the log, so an update fails for want of room in its commit only, and
that is undone as a whole. All knowledge of pragmas and error codes is here; it must
not know what is stored.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

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

from .files import DATA, connect, own, snapshot, tables_in
from .kv import SqliteRead, SqliteWrite, Table
from .transactions import SqlitePart, SqliteTxn

APPLICATION = 0x706C6764
"""`plgd`, in the header of the file (file(1) and `PRAGMA application_id`)."""

_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


class Database:
    """One open database and its tables: an `Engine`.

    descriptor: of the data file, open as long as the connections are.
    """

    name = "sqlite"
    errors = sqlite3.Error
    own_fault = (
        sqlite3.ProgrammingError,
        sqlite3.InterfaceError,
        sqlite3.DataError,
    )
    too_much: tuple[type[Exception], ...] = ()

    def __init__(self, path: Path, log_bytes: int = 4 << 20) -> None:
        """Open, and make when it is not there.

        Raises DataLoss for a file that is damaged or none of SQLite's,
        ResourceExhausted when there is no room, FailedPrecondition when it belongs to
        another program or process, or the operating system refuses.
        """
        self.path = path
        self.file = path / DATA
        self.log_bytes = log_bytes
        self.tables: Mapping[str, Table] = {}
        self.forked = False
        self.descriptor = -1
        self._lock = -1
        self._idle: list[sqlite3.Connection] = []
        self._writing: sqlite3.Connection | None = None
        try:
            self._open()
        except BaseException as error:
            self.close()
            if isinstance(error, (OSError, sqlite3.Error)):
                raise self._unusable(error) from error
            raise
        forget_after_fork(self)

    def _open(self) -> None:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = own(self.path)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self.descriptor = os.open(self.file, flags, 0o600)
        writing = self._writing = connect(self.path, write=True)
        # Before anything is changed: it may be somebody else's.
        self._fresh = _is_empty(writing)
        if not self._fresh and _pragma(writing, "application_id") != APPLICATION:
            raise foreign(self.file)
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",
            "cache_spill = OFF",
            "secure_delete = OFF",
            "temp_store = MEMORY",
        ):
            writing.execute(f"PRAGMA {pragma}").fetchall()
        self.page_size = _pragma(writing, "page_size")
        pages = max(self.log_bytes // self.page_size, 1)
        writing.execute(f"PRAGMA wal_autocheckpoint = {pages}").fetchall()

    def limit_log(self, size: int) -> None:
        """Let the log keep so many bytes once its pages have been moved."""
        self._writer.execute(f"PRAGMA journal_size_limit = {size}").fetchall()

    @property
    def _writer(self) -> sqlite3.Connection:
        if self._writing is None:
            raise sqlite3.ProgrammingError("the database is closed")
        return self._writing

    # --- transactions

    def begin_read(self) -> SqliteTxn:
        """A read transaction; in the trio thread only."""
        check_process(self)
        idle = self._idle
        connection = idle.pop() if idle else connect(self.path, write=False)
        return SqliteTxn(connection, "BEGIN", idle.append)

    def begin_write(self, parent: SqliteTxn | None = None) -> SqliteTxn | SqlitePart:
        check_process(self)
        if parent is not None:
            return SqlitePart(parent)
        return SqliteTxn(self._writer, "BEGIN IMMEDIATE")

    def reader(self, txn: SqliteTxn) -> SqliteRead:
        return SqliteRead(txn.connection, txn.cursors, self.tables)

    def writer(self, txn: SqliteTxn | SqlitePart) -> SqliteWrite:
        return SqliteWrite(txn.connection, txn.cursors, self.tables)

    def create_table(self, name: str, txn: SqliteTxn | SqlitePart) -> Table:
        table = Table(name)
        txn.connection.execute(table.create)
        return table

    def add_table(self, name: str, table: Table) -> None:
        # A new mapping: other threads may be going through the old one.
        self.tables = {**self.tables, name: table}

    def prepare(
        self, names: Iterable[str], migrations: Sequence[Migration] = MIGRATIONS
    ) -> int:
        """Check the schema, migrate, and make these tables, durably; in one thread.

        Returns how many migrations ran. Raises as `schema.apply`; then nothing changed.
        """
        names = [SCHEMA_TABLE, *names]
        try:
            txn = SqliteTxn(self._writer, "BEGIN IMMEDIATE")
            try:
                present = tables_in(txn.connection)
                if not self._fresh and SCHEMA_TABLE not in present:
                    raise foreign(self.file)
                opened = {name: Table(name) for name in present}
                for name in names:
                    if name not in opened:
                        opened[name] = self.create_table(name, txn)
                kv = SqliteWrite(txn.connection, txn.cursors, opened)
                ran = apply_schema(
                    kv, self.file, fresh=self._fresh, migrations=migrations
                )
                if self._fresh:
                    txn.connection.execute(f"PRAGMA application_id = {APPLICATION}")
                txn.commit()
            finally:
                txn.abort()
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        self._fresh = False
        self.tables = {name: opened[name] for name in names}
        return ran

    def stored_tables(self) -> list[str]:
        """The names of all tables in the file, also of those that are not open."""
        with snapshot(self.path) as kv:
            return sorted(kv.tables())

    # --- errors

    def is_full(self, error: BaseException) -> bool:
        """Whether this failure to write means that there is no room. SQLite tells a
        quota and a short write as I/O errors."""
        code = _code(error)
        if code == sqlite3.SQLITE_FULL:
            return True
        return code == sqlite3.SQLITE_IOERR and not has_room(self.path)

    def unreadable(self, error: BaseException) -> PluggdError:
        if _code(error) in _DAMAGED:
            return DataLoss(f"metadata is damaged ({error}): restore a backup")
        if _code(error) in _BUSY:
            return Unavailable(f"metadata cannot be read now ({error}): try again")
        return Internal(f"metadata cannot be read: {error}")

    def _unusable(self, error: OSError | sqlite3.Error) -> PluggdError:
        full = (
            error.errno in NO_ROOM
            if isinstance(error, OSError)
            else self.is_full(error)
        )
        if full:
            return ResourceExhausted(
                f"metadata {self.path}: no room to open it: {error}"
            )
        if _code(error) in _DAMAGED:
            return DataLoss(
                f"metadata {self.file} is damaged or not a file of SQLite ({error}): "
                "restore a backup, or move the directory away to start empty"
            )
        return FailedPrecondition(f"metadata {self.path} cannot be opened: {error}")

    # --- figures

    def size(self) -> int:
        """Bytes of the file and of its log, with what is allocated ahead."""
        sizes = 0
        for file in (self.file, self.file.with_name(self.file.name + "-wal")):
            with suppress(FileNotFoundError):
                sizes += file.stat().st_size
        return sizes

    def allotted(self, txn: SqliteTxn) -> int:
        """Bytes of the pages that the database has, the free ones included."""
        return _pragma(txn.connection, "page_count") * self.page_size

    def free_bytes(self, txn: SqliteTxn) -> int:
        """Bytes inside the file that a later transaction can use again."""
        return _pragma(txn.connection, "freelist_count") * self.page_size

    def measure(self) -> tuple[dict[str, int], int]:
        """Records by open table, and bytes in use; in any thread, by reading all keys."""
        connection = connect(self.path, write=False)
        try:
            txn = SqliteTxn(connection, "BEGIN")
            try:
                entries = {
                    name: _count(connection, table)
                    for name, table in sorted(self.tables.items())
                }
                return entries, self.allotted(txn) - self.free_bytes(txn)
            finally:
                txn.abort()
        finally:
            connection.close()

    def reader_check(self) -> int:
        """SQLite's readers hold locks, which the kernel drops with their process."""
        return 0

    # --- the rest of its life

    def copy(self, path: Path) -> None:
        """Write a compacted, synced copy into an existing directory, commits going on."""
        check_process(self)
        target = path / DATA
        connection = connect(self.path, write=False)
        try:
            connection.execute("VACUUM INTO ?", (os.fspath(target),))
        finally:
            connection.close()
        target.chmod(0o600)
        for name in (target, path):
            descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def close(self) -> None:
        """Idempotent. No transaction may be open. Moves the log into the database."""
        if self.forked:
            return
        while self._idle:
            self._idle.pop().close()
        if self._writing is not None:
            keeper = self._keeper()
            self._writing.close()
            self._writing = None
            if keeper is not None:
                keeper.close()
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _keeper(self) -> sqlite3.Connection | None:
        """Move the log, and open what keeps its file when it is closed last.

        A connection that may write would remove the log, and with it the blocks that
        are kept back: a start on a disk that has become full would find no room.
        """
        if not self.tables:
            return None  # it may be a file of somebody else
        keeper: sqlite3.Connection | None = None
        try:
            self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            keeper = connect(self.path, write=False)
            tables_in(keeper)
        except sqlite3.Error:
            # The log says all the same; the next start reads it, or says what is wrong.
            if keeper is not None:
                keeper.close()
            return None
        return keeper


def _is_empty(connection: sqlite3.Connection) -> bool:
    """Whether nobody has made anything in it yet."""
    ((count,),) = connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
    return count == 0 and _pragma(connection, "application_id") == 0


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value


def _count(connection: sqlite3.Connection, table: Table) -> int:
    value: int = connection.execute(table.count).fetchone()[0]
    return value


def _code(error: BaseException) -> int:
    """SQLite's primary code, 0 when unknown."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
