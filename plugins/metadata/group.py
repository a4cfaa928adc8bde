# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How much room a database of LMDB has, for its group commit."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from pluggd.metastore import group
from pluggd.objects.kv import KV

from .environment import Environment
from .reserve import Reserve

C = TypeVar("C")


class Group(group.Group[C]):
    """See `pluggd.metastore.group`. quota: bytes that may be in use, 0 for no bound."""

    def __init__(
        self,
        environment: Environment,
        reserve: Reserve,
        begin: Callable[[KV], C],
        log: logging.LoggerAdapter[logging.Logger],
        *,
        quota: int = 0,
    ) -> None:
        self._environment = environment
        self._reserve = reserve
        # The map is a bound as well, and updates that free space need room below it.
        map_limit = environment.map_size - max(environment.map_size // 8, 1 << 16)
        limit = min(quota or map_limit, map_limit)
        super().__init__(environment, begin, log, limit=limit)

    def _disk_full(self, txn: Any) -> bool:
        environment = self._environment
        return not self._reserve.ensure(
            environment.size()
        ) and not self._reserve.admits(environment.free_bytes(environment.reader(txn)))

    def _used(self, txn: Any) -> int:
        environment = self._environment
        return environment.reader(txn).pages() * environment.page_size

    def _give_back(self) -> None:
        self._reserve.trim(self._environment.size())
