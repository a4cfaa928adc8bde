# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the daemon is, has and can do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from pluggd.model.figures import Figure
from pluggd.model.record import Record
from pluggd.model.types import Platform, Time
from pluggd.services.kind import Kind
from pluggd.services.rpc import rpc


class Cause(Record, frozen=True):
    """One link of the chain that leads to a status: a plugin, its status, its reason."""

    uri: str = ""
    status: str = ""
    reason: str = ""


class PluginInfo(Record, frozen=True):
    """A plugin as the status table has it, working or not.

    status: found, disabled, blocked, starting, ok, skipped, failed, stopping,
    stopped. causes: for blocked, down to the first cause. Times in ns. tasks: in the
    background, now. decorates: the URI of the plugin that it is put over. calls, errors: of its methods over the socket, since the start.
    """

    uri: str = ""
    kind: str = ""
    id: str = ""
    status: str = ""
    reason: str = ""
    code: str = ""
    causes: list[Cause] = []
    requires: list[str] = []
    wants: list[str] = []
    platforms: list[Platform] = []
    exports: dict[str, str] = {}
    capabilities: list[str] = []
    origin: str = ""
    description: str = ""
    since: Time = 0
    took: int = 0
    tasks: int = 0
    calls: int = 0
    errors: int = 0
    decorates: str = ""


class PluginList(Record, frozen=True):
    """In order of start; those that never started come last, by URI."""

    plugins: list[PluginInfo] = []


class ConfigValue(Record, frozen=True):
    """One option in force. key: dotted, without the plugin. origin: file:line, the flag
    or `default`. hidden: it looks like a secret, and its value is not told."""

    key: str = ""
    value: Any = None
    origin: str = ""
    hidden: bool = False


class PluginConfig(Record, frozen=True):
    """The options of a plugin, in order of their declaration."""

    values: list[ConfigValue] = []


class Stats(Record, frozen=True):
    """Figures, by name. Times in ns since the epoch; counters count since started_at."""

    taken_at: Time = 0
    started_at: Time = 0
    figures: list[Figure] = []


class ServerInfo(Record, frozen=True):
    """uuid: of the root directory, made at its first start. uptime in ns."""

    uuid: str = ""
    pid: int = 0
    version: str = ""
    python: str = ""
    root: str = ""
    state: str = ""
    address: str = ""
    started_at: Time = 0
    uptime: int = 0


class ServiceHealth(Record, frozen=True):
    """status: serving; not_serving; skipped or disabled, when its plugins are and so
    nothing is wrong. reason: why it does not serve."""

    service: str = ""
    status: str = ""
    reason: str = ""


class Health(Record, frozen=True):
    """status: serving, or not_serving when a service is. Who asks for one service that
    is skipped or disabled is told not_serving."""

    status: str = ""
    services: list[ServiceHealth] = []


class Description(Record, frozen=True):
    """The schema of what is served: plain maps, documented in docs/rpc.md."""

    services: list[dict[str, Any]] = []


class Introspection(Protocol):
    """None of these methods needs a namespace."""

    @rpc(namespaced=False)
    async def plugins(self, *, filters: Sequence[str] = ()) -> PluginList:
        """List plugins. Filters: `uri`, `kind`, `type` (the same), `id`, `status`, `capabilities`."""
        ...

    @rpc(result="plugin", namespaced=False)
    async def plugin(self, *, uri: str) -> PluginInfo:
        """One plugin, by its URI. Raises NotFound."""
        ...

    @rpc(namespaced=False)
    async def config(self, *, uri: str = "") -> PluginConfig:
        """The options of a plugin, or of the daemon itself, as they are in force, each
        with its origin. Raises NotFound."""
        ...

    @rpc(namespaced=False)
    async def stats(self, *, names: Sequence[str] = ()) -> Stats:
        """Figures of the daemon and of its plugins: all, or those whose name begins
        with one of these. A plugin that does not say its own within a second is left
        out."""
        ...

    @rpc(result="server", namespaced=False)
    async def server(self) -> ServerInfo:
        """What this daemon is, where its files are, and since when it runs."""
        ...

    @rpc(namespaced=False)
    async def describe(self, *, service: str = "") -> Description:
        """The schema of all services, or of one. Raises NotFound."""
        ...

    @rpc(namespaced=False)
    async def health(self, *, service: str = "") -> Health:
        """Whether all services serve, or one. Raises NotFound for one that is not known."""
        ...


INTROSPECTION = Kind("pluggd.introspection.v1", Introspection)
