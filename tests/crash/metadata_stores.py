# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The metadata stores that are killed: how each is opened, and looked at afterwards."""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pluggd.metastore.store import StoredMetadata
from pluggd.objects.kv import ReadKV
from plugins.metadata.environment import Environment
from plugins.metadata.store import LmdbMetadata
from plugins.metadata_sqlite.database import Database
from plugins.metadata_sqlite.store import SqliteMetadata

PROVIDERS = ("lmdb", "sqlite")
RESERVE = 1 << 20
LOG_BYTES = 256 << 10
"""So that a log is moved into its database often."""


def engine(provider: str, path: Path, tables: Sequence[str]) -> Environment | Database:
    opened: Environment | Database
    if provider == "lmdb":
        opened = Environment(path, 1 << 40)
    else:
        opened = Database(path, LOG_BYTES)
    opened.prepare(tables)
    return opened


def store(provider: str, path: Path, tables: Sequence[str]) -> StoredMetadata[Any]:
    log = logging.LoggerAdapter(logging.getLogger("crash"), {})
    opened = engine(provider, path, tables)
    if isinstance(opened, Environment):
        return LmdbMetadata(opened, log, reserve=RESERVE)
    return SqliteMetadata(opened, log, reserve=RESERVE)


@contextmanager
def state(provider: str, path: Path, tables: Sequence[str]) -> Generator[ReadKV]:
    """What a start finds."""
    opened: Any = engine(provider, path, tables)
    txn = opened.begin_read()
    try:
        yield opened.reader(txn)
    finally:
        txn.abort()
        opened.close()
