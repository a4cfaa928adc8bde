# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How much room a database of SQLite has, for its group commit."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from pluggd.metastore import group
from pluggd.objects.kv import KV

from .database import Database
from .reserve import Reserve

C = TypeVar("C")


class Group(group.Group[C]):
    """See `pluggd.metastore.group`. quota: bytes that may be in use, 0 for no bound."""

    def __init__(
        self,
        database: Database,
        reserve: int,
        begin: Callable[[KV], C],
        log: logging.LoggerAdapter[logging.Logger],
        *,
        quota: int = 0,
    ) -> None:
        self._database = database
        self._reserve = Reserve(
            database.path, database.descriptor, reserve, database.log_bytes
        )
        database.limit_log(self._reserve.log_size)
        super().__init__(database, begin, log, limit=quota)

    def _disk_full(self, txn: Any) -> bool:
        database = self._database
        return not self._reserve.ensure(
            database.allotted(txn)
        ) and not self._reserve.admits(database.free_bytes(txn))

    def _size(self, txn: Any) -> int:
        return self._database.allotted(txn)

    def _used(self, txn: Any) -> int:
        return self._database.allotted(txn) - self._database.free_bytes(txn)

    def _give_back(self) -> None:
        # What a failed commit left in the log is overwritten by the next one.
        pass
