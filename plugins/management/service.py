# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The service: what the daemon can have changed about itself, over the socket.

The work is the core's; this is who is allowed to ask for it, a plugin that an operator
can leave out.
"""

from __future__ import annotations

from pluggd.services.daemon import Daemon
from pluggd.services.management import Change


class ManagementService:
    """Implements `pluggd.services.management.Management`."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    async def restart(self, *, uri: str) -> Change:
        return await self._daemon.restart_plugin(uri)

    async def disable(self, *, uri: str) -> Change:
        return await self._daemon.disable_plugin(uri)

    async def enable(self, *, uri: str) -> Change:
        return await self._daemon.enable_plugin(uri)

    async def reload(self, *, dry_run: bool = False) -> Change:
        return await self._daemon.reload(dry_run=dry_run)
