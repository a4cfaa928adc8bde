# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The service: the daemon's own view of itself, filtered.

It keeps nothing: every answer is the state of this moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from pluggd.errors import NotFound
from pluggd.model.filters import parse_filters
from pluggd.plugin import inline
from pluggd.services.daemon import Daemon
from pluggd.services.introspection import (
    Description,
    Health,
    PluginConfig,
    PluginInfo,
    PluginList,
    ServerInfo,
    Stats,
)


class IntrospectionService:
    """Implements `pluggd.services.introspection.Introspection`."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    @inline
    def plugins(self, *, filters: Sequence[str] = ()) -> PluginList:
        chosen = parse_filters(filters)
        return PluginList(
            plugins=[
                plugin
                for plugin in self._daemon.plugins()
                if chosen.match(partial(_field, plugin))
            ]
        )

    @inline
    def plugin(self, *, uri: str) -> PluginInfo:
        for plugin in self._daemon.plugins():
            if plugin.uri == uri:
                return plugin
        raise NotFound(f'plugin "{uri}": not found')

    @inline
    def config(self, *, uri: str = "") -> PluginConfig:
        return PluginConfig(values=[*self._daemon.config(uri)])

    async def stats(self, *, names: Sequence[str] = ()) -> Stats:
        return await self._daemon.stats(names)

    @inline
    def server(self) -> ServerInfo:
        return self._daemon.server()

    @inline
    def describe(self, *, service: str = "") -> Description:
        return Description(services=self._daemon.describe(service))

    @inline
    def health(self, *, service: str = "") -> Health:
        return self._daemon.health(service)


def _field(plugin: PluginInfo, path: tuple[str, ...]) -> str | None:
    """What a filter sees of a plugin; None for what is absent.

    A capability is present when the plugin has it: `capabilities.resume`; all of them,
    joined by commas, are `capabilities` (`capabilities~=resume`).
    """
    match path:
        case ("uri",):
            return plugin.uri
        case ("kind",) | ("type",):
            return plugin.kind
        case ("id",):
            return plugin.id
        case ("status",):
            return plugin.status
        case ("capabilities",):
            return ",".join(plugin.capabilities) or None
        case ("capabilities", *rest):
            name = ".".join(rest)
            return name if name in plugin.capabilities else None
        case _:
            return None
