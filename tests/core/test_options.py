# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a daemon tells of its configuration."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pluggd.core.options import config_values
from pluggd.errors import NotFound
from pluggd.model.record import Record
from pluggd.plugin import Context, Registration
from pluggd.services.introspection import ConfigValue
from pluggd.services.kind import Kind
from pluggd.testing import running_daemon

URI = "test.a.v1.x"


class Registry(Record, frozen=True):
    host: str = ""
    password: str = ""


class Config(Record, frozen=True):
    speed: int = 3
    colour: str = "red"
    api_token: str = ""
    registry: Registry = Registry()
    mirrors: list[Registry] = []


class Thing:
    pass


@asynccontextmanager
async def start(ctx: Context[Config]) -> AsyncGenerator[Thing]:
    yield Thing()


MINE = Registration(
    provides=Kind("test.a.v1", Thing), id="x", start=start, config=Config
)


async def options(tmp_path: Path, text: str, uri: str) -> dict[str, ConfigValue]:
    async with (
        running_daemon(tmp_path, text, plugins=[MINE]) as daemon,
        daemon.client() as client,
    ):
        found = await client.introspection.config(uri=uri)
        assert found.values == config_values(daemon.daemon.configuration, uri)
    return {one.key: one for one in found.values}


async def test_each_option_has_its_value_and_its_origin(tmp_path: Path) -> None:
    text = f'[plugins."{URI}"]\nspeed = 7\n\n[plugins."{URI}".registry]\nhost = "h"\n'
    found = await options(tmp_path, text, URI)
    file = tmp_path / "config.toml"
    assert found["speed"] == ConfigValue("speed", 7, f"{file}:2")
    assert found["colour"] == ConfigValue("colour", "red", "default")
    assert found["registry.host"] == ConfigValue("registry.host", "h", f"{file}:5")


async def test_secrets_are_not_told(tmp_path: Path) -> None:
    text = (
        f'[plugins."{URI}"]\napi_token = "s3cret"\n'
        f'registry = {{ host = "h", password = "s3cret" }}\n'
        f'mirrors = [{{ host = "m", password = "s3cret" }}]\n'
    )
    found = await options(tmp_path, text, URI)
    assert "s3cret" not in repr(found)
    assert found["api_token"].hidden
    assert found["registry.password"].hidden
    assert found["mirrors"].value == [{"host": "m", "password": "(hidden)"}]


async def test_a_secret_that_is_not_set_is_not_hidden(tmp_path: Path) -> None:
    found = await options(tmp_path, "", URI)
    assert found["api_token"] == ConfigValue("api_token", "", "default")


async def test_without_a_uri_it_is_the_daemons_own(tmp_path: Path) -> None:
    found = await options(tmp_path, "start_deadline = 20.0", "")
    assert found["start_deadline"].value == 20.0
    assert found["rpc.address"].origin == "flag --address"
    assert found["rpc.limits.depth"].value == 64
    assert not any(key.startswith("plugins") for key in found)


async def test_a_plugin_that_is_not_there_has_no_options(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r'options of plugin "nope": not found'):
        await options(tmp_path, "", "nope")
