# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tables of bytes over one transaction of a connection to SQLite.

The adapter between `pluggd.objects.kv` and sqlite3. Each table is one of SQLite with
the key as its primary key; BLOBs compare as bytes. The process that marks imports this
module as well, so it must stay free of trio.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pluggd.errors import FailedPrecondition
from pluggd.objects.kv import MAX_KEY

PREFIX = "kv:"
"""Before the name of every table, for SQLite has names of its own."""


class Table:
    """The statements of one table: made once, for sqlite3 finds them by their text."""

    __slots__ = (
        "all",
        "before",
        "count",
        "create",
        "delete",
        "down",
        "get",
        "last",
        "put",
    )

    def __init__(self, name: str) -> None:
        sql = '"' + (PREFIX + name).replace('"', '""') + '"'
        # Without a rowid: one tree by key, as in LMDB, and no second one as its index.
        self.create = (
            f"CREATE TABLE IF NOT EXISTS {sql} "
            "(key BLOB NOT NULL PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID"
        )
        self.count = f"SELECT count(*) FROM {sql}"
        self.get = f"SELECT value FROM {sql} WHERE key = ?"
        self.all = f"SELECT key, value FROM {sql} WHERE key >= ? ORDER BY key"
        self.before = (
            f"SELECT key, value FROM {sql} WHERE key >= ? AND key < ? ORDER BY key"
        )
        self.down = f"SELECT key, value FROM {sql} ORDER BY key DESC"
        self.last = f"{self.down} LIMIT 1"
        self.put = f"REPLACE INTO {sql} VALUES (?, ?)"
        self.delete = f"DELETE FROM {sql} WHERE key = ?"


class SqliteRead:
    """A `ReadKV`. Dead as soon as its transaction has ended.

    cursors: of the listings that are open, which the end of the transaction closes.
    """

    __slots__ = ("_connection", "_cursors", "_tables")

    def __init__(
        self,
        connection: sqlite3.Connection,
        cursors: set[sqlite3.Cursor],
        tables: Mapping[str, Table],
    ) -> None:
        self._connection = connection
        self._cursors = cursors
        self._tables = tables

    def _table(self, table: str) -> Table:
        try:
            return self._tables[table]
        except KeyError:
            raise FailedPrecondition(
                f'table "{table}" is not open, call open_table in start: '
                "failed precondition"
            ) from None

    def get(self, table: str, key: bytes) -> bytes | None:
        row = self._connection.execute(self._table(table).get, (key,)).fetchone()
        return None if row is None else row[0]

    def seek(
        self, table: str, start: bytes, stop: bytes | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        # Not a generator itself, so that an unknown table is reported at the call.
        found = self._table(table)
        if stop is None:
            return self._pairs(found.all, (start,))
        return self._pairs(found.before, (start, stop))

    def _pairs(
        self, sql: str, arguments: Sequence[bytes]
    ) -> Iterator[tuple[bytes, bytes]]:
        cursor = self._connection.cursor()
        self._cursors.add(cursor)
        try:
            yield from cursor.execute(sql, arguments)
        finally:
            # As long as a statement has not run to its end, its snapshot is held.
            self._cursors.discard(cursor)
            cursor.close()

    def last(self, table: str) -> tuple[bytes, bytes] | None:
        found: tuple[bytes, bytes] | None = self._connection.execute(
            self._table(table).last
        ).fetchone()
        return found

    def descending(self, table: str) -> Iterator[tuple[bytes, bytes]]:
        """All pairs, the greatest key first."""
        return self._pairs(self._table(table).down, ())

    def check(self, table: str) -> None:
        """Raises FailedPrecondition for a table that is not open."""
        self._table(table)

    def tables(self) -> Iterator[str]:
        return iter(self._tables)


class SqliteWrite(SqliteRead):
    """A `KV`. One thread at a time may use it; only its owner may end the transaction.

    Raises sqlite3.OperationalError when SQLite has undone the transaction by itself,
    as it does after some errors: what came now would be a transaction of its own.
    """

    __slots__ = ("notes",)

    def __init__(
        self,
        connection: sqlite3.Connection,
        cursors: set[sqlite3.Cursor],
        tables: Mapping[str, Table],
    ) -> None:
        super().__init__(connection, cursors, tables)
        self.notes: dict[Any, Any] = {}

    def _alive(self) -> None:
        if not self._connection.in_transaction:
            raise sqlite3.OperationalError("the transaction was rolled back by SQLite")

    def put(self, table: str, key: bytes, value: bytes) -> None:
        found = self._table(table)
        if not 0 < len(key) <= MAX_KEY:
            raise self.bad_key(len(key))
        self._alive()
        self._connection.execute(found.put, (key, value))

    def delete(self, table: str, key: bytes) -> bool:
        found = self._table(table)
        self._alive()
        return self._connection.execute(found.delete, (key,)).rowcount > 0

    def bad_key(self, length: int) -> sqlite3.Error:
        return sqlite3.DataError(f"a key has 1 to {MAX_KEY} bytes, not {length}")

    def put_many(self, table: str, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        """`put` of each; cheapest when they are in the order of their keys."""
        self._alive()
        self._connection.executemany(self._table(table).put, pairs)
