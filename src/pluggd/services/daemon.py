# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the core tells plugins about the daemon they run in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from pluggd.services.introspection import (
    ConfigValue,
    Health,
    PluginInfo,
    ServerInfo,
    Stats,
)
from pluggd.services.kind import Kind
from pluggd.services.management import Change


class Daemon(Protocol):
    """Provided by the core itself; always there."""

    def plugins(self) -> Sequence[PluginInfo]:
        """The status table as it is now, in order of start."""
        ...

    def server(self) -> ServerInfo: ...

    def config(self, uri: str = "") -> Sequence[ConfigValue]:
        """The options of a plugin, or of the daemon itself, as they are in force.

        Raises NotFound.
        """
        ...

    async def stats(self, names: Sequence[str] = ()) -> Stats:
        """The figures of everybody, or those whose name begins with one of these."""
        ...

    def describe(self, service: str = "") -> list[dict[str, Any]]:
        """The schema of what is served. Raises NotFound."""
        ...

    def health(self, service: str = "") -> Health:
        """Raises NotFound."""
        ...

    async def restart_plugin(self, uri: str) -> Change:
        """As `management.v1.restart`."""
        ...

    async def disable_plugin(self, uri: str) -> Change:
        """As `management.v1.disable`."""
        ...

    async def enable_plugin(self, uri: str) -> Change:
        """As `management.v1.enable`."""
        ...

    async def reload(self, *, dry_run: bool = False) -> Change:
        """As `management.v1.reload`."""
        ...


DAEMON = Kind("pluggd.daemon.v1", Daemon)
