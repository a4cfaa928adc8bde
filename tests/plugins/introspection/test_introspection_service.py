# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the introspection service answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from pluggd.core.protocols import mismatches
from pluggd.errors import InvalidArgument, NotFound
from pluggd.services.introspection import (
    INTROSPECTION,
    ConfigValue,
    Health,
    PluginInfo,
    ServerInfo,
    ServiceHealth,
    Stats,
)
from pluggd.services.management import Change
from plugins.introspection.service import IntrospectionService

PLUGINS = [
    PluginInfo(uri="p.a.v1.one", kind="p.a.v1", id="one", status="ok"),
    PluginInfo(
        uri="p.b.v1.two",
        kind="p.b.v1",
        id="two",
        status="failed",
        capabilities=["resume", "fast"],
    ),
]


class FakeDaemon:
    def plugins(self) -> Sequence[PluginInfo]:
        return PLUGINS

    def server(self) -> ServerInfo:
        return ServerInfo(uuid="u", pid=7)

    def config(self, uri: str = "") -> Sequence[ConfigValue]:
        return [ConfigValue(key=uri)]

    async def stats(self, names: Sequence[str] = ()) -> Stats:
        return Stats(taken_at=len(names))

    def describe(self, service: str = "") -> list[dict[str, Any]]:
        return [{"name": service or "all"}]

    def health(self, service: str = "") -> Health:
        return Health(status="serving", services=[ServiceHealth(service=service)])

    async def restart_plugin(self, uri: str) -> Change:
        raise NotImplementedError

    disable_plugin = enable_plugin = restart_plugin

    async def reload(self, *, dry_run: bool = False) -> Change:
        raise NotImplementedError


SERVICE = IntrospectionService(FakeDaemon())


def test_it_keeps_its_interface() -> None:
    assert mismatches(INTROSPECTION, SERVICE) == []


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        ([], ["one", "two"]),
        (["status==failed"], ["two"]),
        (["kind==p.a.v1"], ["one"]),
        (["type==p.a.v1"], ["one"]),
        (["id~=o"], ["one", "two"]),
        (["uri==p.b.v1.two"], ["two"]),
        (["capabilities"], ["two"]),
        (["capabilities.resume"], ["two"]),
        (["capabilities.slow"], []),
        (["capabilities~=fast"], ["two"]),
        (["color==red"], []),
        (["id==one", "status==failed"], ["one", "two"]),
        (["id==one,status==failed"], []),
    ],
)
async def test_plugins_are_filtered(filters: list[str], ids: list[str]) -> None:
    found = await SERVICE.plugins(filters=filters)
    assert [plugin.id for plugin in found.plugins] == ids


async def test_a_bad_filter_is_refused() -> None:
    with pytest.raises(InvalidArgument):
        await SERVICE.plugins(filters=["id=="])


async def test_one_plugin_is_found_by_uri() -> None:
    assert (await SERVICE.plugin(uri="p.a.v1.one")).id == "one"


async def test_an_unknown_plugin_is_not_found() -> None:
    with pytest.raises(NotFound, match=r'plugin "p\.c": not found'):
        await SERVICE.plugin(uri="p.c")


async def test_the_rest_is_the_daemons_own_answer() -> None:
    assert (await SERVICE.server()).pid == 7
    assert (await SERVICE.config(uri="u")).values == [ConfigValue(key="u")]
    assert (await SERVICE.stats(names=["a", "b"])).taken_at == 2
    assert (await SERVICE.describe(service="x")).services == [{"name": "x"}]
    assert (await SERVICE.health(service="x")).services[0].service == "x"
