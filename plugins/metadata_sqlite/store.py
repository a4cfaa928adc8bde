# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The metadata store over SQLite: `pluggd.metastore.store`, with the engine put in."""

from __future__ import annotations

import logging

import trio

from pluggd.metastore.store import Begin, StoredMetadata
from pluggd.objects.transaction import ObjectTransaction

from . import child
from .database import Database
from .group import Group


class SqliteMetadata(StoredMetadata[Database]):
    """A `Metadata`. `database` has been prepared; `aclose` ends that as well.

    quota, reserve: bytes; see the plugin's configuration.
    """

    def __init__(
        self,
        database: Database,
        log: logging.LoggerAdapter[logging.Logger],
        *,
        quota: int = 0,
        reserve: int = 0,
    ) -> None:
        self.database = database

        def group(begin: Begin) -> Group[ObjectTransaction]:
            return Group(database, reserve, begin, log, quota=quota)

        super().__init__(database, group, log, quota=quota)

    async def _measure(self) -> tuple[dict[str, int], int]:
        # SQLite counts by reading a whole table, so this is not for the trio thread.
        return await trio.to_thread.run_sync(self.database.measure)

    async def _verify(self) -> None:
        await child.run("verify", str(self.database.path))

    async def _run_mark(self, now: int) -> bytes:
        return await child.run("mark", str(self.database.path), str(now))
