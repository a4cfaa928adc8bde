# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The metadata store over LMDB: `pluggd.metastore.store`, with the engine put in."""

from __future__ import annotations

import logging

import trio

from pluggd.metastore.store import Begin, StoredMetadata
from pluggd.objects.transaction import ObjectTransaction

from . import child
from .environment import DATA, Environment
from .group import Group
from .reserve import Reserve


class LmdbMetadata(StoredMetadata[Environment]):
    """A `Metadata`. `environment` has been prepared; `aclose` ends that as well.

    quota, reserve: bytes; see the plugin's configuration.
    """

    def __init__(
        self,
        environment: Environment,
        log: logging.LoggerAdapter[logging.Logger],
        *,
        quota: int = 0,
        reserve: int = 0,
    ) -> None:
        self.environment = environment
        held = Reserve(environment.path / DATA, reserve)

        def group(begin: Begin) -> Group[ObjectTransaction]:
            return Group(environment, held, begin, log, quota=quota)

        super().__init__(environment, group, log, quota=quota)

    async def _measure(self) -> tuple[dict[str, int], int]:
        await trio.lowlevel.checkpoint()
        return self.environment.measure()

    async def _verify(self) -> None:
        environment = self.environment
        await child.run("verify", str(environment.path), str(environment.map_size))

    async def _run_mark(self, now: int) -> bytes:
        environment = self.environment
        return await child.run(
            "mark", str(environment.path), str(environment.map_size), str(now)
        )
