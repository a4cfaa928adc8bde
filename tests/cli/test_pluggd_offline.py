# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The commands of pluggd that start nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pluggd import __version__
from pluggd.cli.pluggd import main

PLUGIN = """
from contextlib import asynccontextmanager
from pluggd.plugin import Registration, hookimpl
from pluggd.services.kind import Kind

@hookimpl
def pluggd_register():
    return Registration(provides=Kind("test.NAME.v1", object), id="x", start=start, MORE)

@asynccontextmanager
async def start(ctx):
    raise AssertionError("nothing is started")
    yield
"""


def pluggd(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(one) for one in arguments])


@pytest.fixture
def config(tmp_path: Path) -> Path:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    for name, more in (("a", "requires=(Kind('test.b.v1', object),)"), ("b", "")):
        text = PLUGIN.replace("NAME", name).replace("MORE", more)
        (plugins / f"{name}.py").write_text(text)
    (plugins / "broken.py").write_text("1 / 0")
    lost = PLUGIN.replace("NAME", "lost").replace(
        "MORE", "requires=(Kind('test.nobody.v1', object),)"
    )
    (plugins / "lost.py").write_text(lost)
    file = tmp_path / "config.toml"
    file.write_text('plugin_dirs = ["plugins"]')
    return file


def test_version_prints_the_version() -> None:
    assert pluggd("version").output == f"pluggd {__version__}\n"


def test_plugins_lists_what_would_start_in_order_and_what_would_not(
    config: Path,
) -> None:
    lines = pluggd("plugins", "--config", config).output.splitlines()
    tests = [line.split() for line in lines if "test." in line or "broken" in line]
    assert [line[1] for line in tests] == [
        "test.b.v1.x",
        "test.a.v1.x",
        "test.lost.v1.x",
        "broken",
    ]
    assert "blocked: requires test.nobody.v1" in " ".join(tests[2])
    assert "failed: ZeroDivisionError" in " ".join(tests[3])


def test_plugins_speaks_json(config: Path) -> None:
    rows = json.loads(pluggd("plugins", "--config", config, "--json").output)
    status = {row["uri"]: row["status"] for row in rows}
    assert status["test.a.v1.x"] == "found"
    assert status["broken"] == "failed"


def test_a_disabled_plugin_blocks_who_requires_it(config: Path) -> None:
    config.write_text(config.read_text() + '\ndisabled_plugins = ["test.b.v1.x"]')
    output = pluggd("plugins", "--config", config).output
    assert "disabled: disabled in the configuration" in output
    assert "blocked: requires test.b.v1, because test.b.v1.x: disabled" in output


def test_config_check_finds_nothing_wrong(config: Path) -> None:
    result = pluggd("config", "check", "--config", config)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"ok: {config} (")


def test_config_check_warns_of_plugins_that_would_not_start(config: Path) -> None:
    config.write_text(
        config.read_text()
        + '\n[proxy_plugins]\nx = { kind = "imges", address = "/run/x" }'
    )
    result = pluggd("config", "check", "--config", config)
    assert result.exit_code == 0
    for text in (
        "broken would not start, failed: ZeroDivisionError",
        "test.lost.v1.x would not start, blocked: requires test.nobody.v1",
        'imges.x would not start, failed: proxy_plugins.x: no plugin knows the kind "imges"',
    ):
        assert f"warning: plugin {text}" in result.stderr
    assert "test.a.v1.x" not in result.output


def test_config_check_tells_what_is_wrong(config: Path) -> None:
    config.write_text("strikt = true\nroot = 3")
    result = pluggd("config", "check", "--config", config)
    assert result.exit_code == 3
    assert f'{config}:1: strikt: unknown key, did you mean "strict"?' in result.output
    assert f"{config}:2: root: expected str, got int" in result.output


def test_config_dump_reads_back(config: Path, tmp_path: Path) -> None:
    dump = pluggd("config", "dump", "--config", config).output
    again = tmp_path / "again.toml"
    again.write_text(dump)
    assert pluggd("config", "check", "--config", again).exit_code == 0
    assert f'plugin_dirs = ["{tmp_path}/plugins"]  # {config}:1' in dump


def test_config_default_is_a_configuration(tmp_path: Path) -> None:
    file = tmp_path / "default.toml"
    file.write_text(pluggd("config", "default").output)
    assert pluggd("config", "check", "--config", file).exit_code == 0


def test_a_configuration_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    result = pluggd("config", "check", "--config", tmp_path / "no.toml")
    assert result.exit_code == 3
    assert "cannot be read" in result.output
