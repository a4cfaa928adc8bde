# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Transactions of SQLite, as `pluggd.metastore.engine` wants them.

A connection has one transaction at a time, so each object here remembers whether it is
still that one: an `abort` that comes late must not end the next. The process that
marks imports this module as well, so it must stay free of trio.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable


def _nobody(_: sqlite3.Connection) -> None:
    pass


class SqliteTxn:
    """A transaction that was begun with `begin`. cursors: see `kv.SqliteRead`.

    ended: called with the connection when it is free again.
    """

    __slots__ = ("_ended", "_over", "connection", "cursors")

    def __init__(
        self,
        connection: sqlite3.Connection,
        begin: str,
        ended: Callable[[sqlite3.Connection], None] = _nobody,
    ) -> None:
        self.connection = connection
        self.cursors: set[sqlite3.Cursor] = set()
        self._ended = ended
        self._over = False
        connection.execute(begin)

    def commit(self) -> None:
        """Raises sqlite3.Error; then nothing of it happened, as far as is known."""
        self._close_cursors()
        if not self.connection.in_transaction:
            raise sqlite3.OperationalError("the transaction was rolled back by SQLite")
        self.connection.execute("COMMIT")
        self._end()

    def abort(self) -> None:
        if self._over:
            return
        self._close_cursors()
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")
        self._end()

    def _end(self) -> None:
        self._over = True
        self._ended(self.connection)

    def _close_cursors(self) -> None:
        while self.cursors:
            self.cursors.pop().close()


class SqlitePart:
    """A part of a transaction, which can be undone by itself: a savepoint."""

    __slots__ = ("_over", "_parent", "connection", "cursors")

    def __init__(self, parent: SqliteTxn) -> None:
        self.connection = parent.connection
        self.cursors = parent.cursors
        self._over = False
        self.connection.execute("SAVEPOINT part")

    def commit(self) -> None:
        self.connection.execute("RELEASE part")
        self._over = True

    def abort(self) -> None:
        if self._over:
            return
        self._over = True
        while self.cursors:
            self.cursors.pop().close()
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK TO part")
            self.connection.execute("RELEASE part")
