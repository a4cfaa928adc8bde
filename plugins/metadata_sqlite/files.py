# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The files of the database: how a connection is made, and whose the files are.

One process has them, by a lock on a file beside. Of its connections only one writes,
and only that one moves pages from the log into the database (checkpoints): the others
are read-only, so that there are never two at it. It must stay free of trio.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from pluggd.errors import FailedPrecondition

from .kv import PREFIX, SqliteRead, Table
from .transactions import SqliteTxn

DATA = "metadata.db"
LOG = "metadata.db-wal"
LOCK = "lock"

READ_PATIENCE = 5.0
"""Seconds that a reader waits while the log is being recovered; never otherwise."""

WRITE_PATIENCE = 3600.0 * 24
"""Seconds that the writer waits for a foreign program that writes, as it does in LMDB."""

CACHE_KIB = 16 << 10


def connect(path: Path, *, write: bool) -> sqlite3.Connection:
    """A connection that begins and ends transactions only when it is told to.

    Threads may share it, one at a time. Raises sqlite3.Error.
    """
    mode = "rwc" if write else "ro"
    connection = sqlite3.connect(
        f"file:{quote(os.fspath(path / DATA))}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=WRITE_PATIENCE if write else READ_PATIENCE,
        cached_statements=512,
    )
    try:
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        connection.execute("PRAGMA trusted_schema = OFF")
    except BaseException:
        connection.close()
        raise
    return connection


def tables_in(connection: sqlite3.Connection) -> list[str]:
    """The names of all tables that this program made, sorted."""
    rows = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
    ).fetchall()
    return [name.removeprefix(PREFIX) for (name,) in rows if name.startswith(PREFIX)]


@contextmanager
def snapshot(path: Path) -> Generator[SqliteRead]:
    """All tables in one state, read-only, for a process that has no `Database`, or
    for a thread that needs a connection of its own."""
    connection = connect(path, write=False)
    try:
        txn = SqliteTxn(connection, "BEGIN")
        try:
            tables = {name: Table(name) for name in tables_in(connection)}
            yield SqliteRead(connection, txn.cursors, tables)
        finally:
            txn.abort()
    finally:
        connection.close()


def own(path: Path) -> int:
    """Lock the directory for this process; the descriptor, whose close gives it up.

    Raises FailedPrecondition when another one has it, OSError.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    descriptor = os.open(path / LOCK, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise FailedPrecondition(
            f"metadata {path / DATA} is in use by another process, which has "
            f"{path / LOCK} locked: stop it: failed precondition"
        ) from None
    return descriptor
