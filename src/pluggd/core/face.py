# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The daemon as its plugins see it, and the plugin of the core that gives it to them."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pluggd
from pluggd.core.discovery import Found
from pluggd.core.figures import (
    Gatherer,
    plugin_figures,
    process_figures,
    server_figures,
)
from pluggd.core.notify import notify
from pluggd.model.record import replace
from pluggd.plugin import Context, NoConfig, Registration
from pluggd.services.daemon import DAEMON
from pluggd.services.daemon import Daemon as DaemonProtocol
from pluggd.services.introspection import (
    ConfigValue,
    Health,
    PluginInfo,
    ServerInfo,
    Stats,
)
from pluggd.services.management import Change

if TYPE_CHECKING:
    from pluggd.core.daemon import Daemon


class Face:
    """See `pluggd.services.daemon.Daemon`."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._gatherer = Gatherer(daemon.log)

    def plugins(self) -> Sequence[PluginInfo]:
        calls: Counter[str] = Counter()
        errors: Counter[str] = Counter()
        for one in self._daemon.services.dispatcher.statistics.methods():
            calls[one.plugin] += one.calls
            errors[one.plugin] += one.errors.total()
        return [
            replace(info, calls=calls[info.uri], errors=errors[info.uri])
            for info in self._daemon.table.infos()
        ]

    def config(self, uri: str = "") -> Sequence[ConfigValue]:
        from pluggd.core.options import config_values

        return config_values(self._daemon.configuration, uri)

    async def stats(self, names: Sequence[str] = ()) -> Stats:
        rows = self._daemon.table.rows
        own = [
            *server_figures(self._daemon.services.dispatcher.statistics),
            *self._daemon.probe.figures(),
            *plugin_figures(rows),
            *process_figures(self._daemon.started_at),
        ]
        return Stats(
            taken_at=time.time_ns(),
            started_at=self._daemon.started_at,
            figures=await self._gatherer.gather(own, rows, names),
        )

    def server(self) -> ServerInfo:
        return ServerInfo(
            uuid=self._daemon.uuid,
            pid=os.getpid(),
            version=pluggd.__version__,
            python=sys.version.partition(" ")[0],
            root=str(self._daemon.configuration.root),
            state=str(self._daemon.configuration.state),
            address=self._daemon.address,
            started_at=self._daemon.started_at,
            uptime=time.time_ns() - self._daemon.started_at,
        )

    def describe(self, service: str = "") -> list[dict[str, Any]]:
        return self._daemon.services.describe(service)

    def health(self, service: str = "") -> Health:
        return self._daemon.services.health(service)

    async def restart_plugin(self, uri: str) -> Change:
        return await self._daemon.running_changes().restart(uri)

    async def disable_plugin(self, uri: str) -> Change:
        return await self._daemon.running_changes().disable(uri)

    async def enable_plugin(self, uri: str) -> Change:
        return await self._daemon.running_changes().enable(uri)

    async def reload(self, *, dry_run: bool = False) -> Change:
        reload = self._daemon.reloader()
        if dry_run:
            return await reload.run(dry_run=True)
        notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            change = await reload.run()
        finally:
            notify(self._daemon.ready_text())
        for warning in change.warnings:
            self._daemon.log.warning(
                "configuration may be wrong", extra={"reason": warning}
            )
        self._daemon.log.info(
            "configuration reloaded",
            extra={"options": len(change.options), "plugins": len(change.plugins)},
        )
        return change


def own_plugin(face: Face) -> Found:
    """What the core itself provides, found like any other plugin."""

    @asynccontextmanager
    async def start(ctx: Context[NoConfig]) -> AsyncGenerator[DaemonProtocol]:
        yield face

    registration = Registration(
        provides=DAEMON,
        id="core",
        start=start,
        description="What the daemon tells plugins about itself",
    )
    return Found("core", __file__, "bundled", registration)
