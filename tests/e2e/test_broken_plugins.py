# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Plugins broken in every way, all in one daemon: each is told apart from the others with
its file and what to do, and everything else runs."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import trio

from pluggd.errors import InvalidArgument
from pluggd.services import management
from pluggd.testing import RunningDaemon, running_daemon

COMMON = """
from contextlib import asynccontextmanager
import trio
from pluggd.model.record import Record
from pluggd.plugin import Registration, hookimpl
from pluggd.services.images import IMAGES, Images
from pluggd.services.kind import Kind
from pluggd.services.rpc import rpc

{top}

class Thing:
    @rpc(namespaced=False)
    async def do(self) -> None: ...

@asynccontextmanager
async def start(ctx):
    {start}
    yield {yields}

@hookimpl
def pluggd_register():
    return Registration(provides=Kind("test.{kind}.v1", {interface}), id="x", start=start, {more})
"""


def source(
    kind: str,
    *,
    top: str = "",
    start: str = "pass",
    yields: str = "Thing()",
    interface: str = "Thing",
    more: str = "",
) -> str:
    return COMMON.format(**locals())


def needs(kind: str) -> str:
    return f"requires=(Kind('test.{kind}.v1', Thing),)"


PLUGINS = {
    "good": source("good"),
    "importing": "import colour_of_the_sky\n",
    "syntax": "def start(:\n",
    "silent": "x = 1\n",
    "mistyped": source("mistyped", interface="Images"),
    "lonely": source("lonely", more=needs("nobody")),
    "one": source("one", more=needs("two")),
    "two": source("two", more=needs("one")),
    "slow": source("slow", start="await trio.sleep_forever()", more="deadline=0.2"),
    "crashing": source(
        "crashing",
        top="async def beat():\n    raise ValueError('out of breath')",
        start="ctx.spawn(beat)",
    ),
    "modern": source("modern", more="api='9.4'"),
    "old": source("old", more="api='0.9'"),
    "double": source("twin"),
    "twin": source("twin"),
    "usurping": source("images"),
    "usurping_wrongly": source("leases", more="live=('no_option',)"),
    "sovereign": source("sovereign").replace("test.sovereign.v1", "pluggd.daemon.v1"),
    "demanding": source(
        "demanding",
        top="class Config(Record, frozen=True):\n    size: int",
        more="config=Config",
    ),
    "tired": source("tired", start="raise RuntimeError('no coffee')"),
    "waiting": source("waiting", more=needs("tired")),
    "typo": source("typo", more="requires=(Kind('pluggd.image.v1', Thing),)"),
    "refusing": source(
        "refusing",
        top="class Config(Record, frozen=True):\n    size: int = 0\n"
        "    def __post_init__(self):\n        raise ValueError('too small')",
        more="config=Config",
    ),
    "plain": source("plain").replace("async def start", "def start"),
    "yieldless": source("yieldless", start="return"),
    "returning": source("returning").replace("return Registration", "return dict"),
    "blocking": source(
        "blocking", start="import time; time.sleep(1.5)", more="deadline=0.1"
    ),
}

EXPECTED = {
    "test.good.v1.x": ("ok", r"^$"),
    "importing": (
        "failed",
        r"No module named 'colour_of_the_sky' \({dir}/importing.py:1\)",
    ),
    "syntax": ("failed", r"SyntaxError.*\({dir}/syntax.py:1\)"),
    "silent": ("failed", r"silent has no function pluggd_register.*{dir}/silent.py"),
    "test.mistyped.v1.x": (
        "failed",
        r"Thing does not keep the interface of test.mistyped.v1: has no create\(\).*"
        r"{dir}/mistyped.py",
    ),
    "test.lonely.v1.x": (
        "blocked",
        r"requires test.nobody.v1, because .*no plugin provides it.*: install a plugin that does.*"
        r"\({dir}/lonely.py\)",
    ),
    "test.one.v1.x": (
        "failed",
        r"cycle of requirements: test.one.v1.x -> test.two.v1.x -> test.one.v1.x:"
        r" take one of them out of requires and wants.*{dir}/one.py",
    ),
    "test.two.v1.x": ("failed", r"cycle of requirements: .*{dir}/two.py"),
    "test.slow.v1.x": (
        "failed",
        r"start did not return within 0.2 s \(it waits at {dir}/slow.py:18\): wait in a"
        r" task of ctx.spawn, or give the registration a longer deadline",
    ),
    "test.crashing.v1.x": (
        "failed",
        r"task beat: ValueError: out of breath \({dir}/crashing.py:\d+\)",
    ),
    "test.modern.v1.x": (
        "failed",
        r"was written for plugin API 9.4, and this pluggd has 1.0: upgrade pluggd.*"
        r"{dir}/modern.py",
    ),
    "test.old.v1.x": ("ok", r"^$"),
    "test.twin.v1.x": (
        "failed",
        r"exists more than once, in {dir}/double.py .* and {dir}/twin.py .*: remove one",
    ),
    "test.images.v1.x": (
        "failed",
        r"kind test.images.v1 of {dir}/usurping.py would be called as images.v1, and so"
        r" would pluggd.images.v1 of .*: what follows the first dot has to differ",
    ),
    "test.leases.v1.x": ("failed", r"which NoConfig does not have.*{dir}/usurping_"),
    "pluggd.daemon.v1.x": ("failed", r"is the daemon's own.*{dir}/sovereign.py"),
    "test.demanding.v1.x": (
        "failed",
        r"every field of Config needs a default.*{dir}/demanding.py",
    ),
    "test.tired.v1.x": ("failed", r"RuntimeError: no coffee \({dir}/tired.py:\d+\)"),
    "test.waiting.v1.x": ("blocked", r"test.tired.v1"),
    "test.typo.v1.x": (
        "blocked",
        r'; did you mean "pluggd.images.v1"\?.*{dir}/typo.py',
    ),
    "test.refusing.v1.x": (
        "failed",
        r"Config refuses its own defaults \(too small\).*: choose defaults.*"
        r"{dir}/refusing.py",
    ),
    "test.plain.v1.x": ("failed", r"start must be `async def`.*{dir}/plain.py"),
    "test.yieldless.v1.x": (
        "failed",
        r"start returned without yield: yield what.*{dir}/yieldless.py",
    ),
    "returning": ("failed", r"returned a dict, not a Registration: return one.*{dir}/"),
    "test.blocking.v1.x": (
        "failed",
        r"start did not return within 0.1 s and ignores being cancelled: it blocks the"
        r" thread \(use trio.to_thread.run_sync\).*{dir}/blocking.py",
    ),
}


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncGenerator[RunningDaemon]:
    directory = tmp_path / "plugins"
    directory.mkdir()
    for name, text in PLUGINS.items():
        (directory / f"{name}.py").write_text(text)
    with trio.fail_after(60):
        config = {"plugin_dirs": [str(directory)]}
        async with running_daemon(tmp_path / "d", config) as running:
            yield running


async def shown(daemon: RunningDaemon, *arguments: str) -> str:
    done = await trio.run_process(
        [
            *(sys.executable, "-m", "pluggd.cli.pluggctl"),
            *("--address", str(daemon.address), *arguments),
        ],
        capture_stdout=True,
    )
    return done.stdout.decode()


async def test_each_is_told_with_its_file_and_the_rest_runs(
    daemon: RunningDaemon, tmp_path: Path
) -> None:
    async with daemon.client() as client:
        listed = await client.introspection.plugins()
    found = {info.uri: info for info in listed.plugins}
    directory = re.escape(str(tmp_path / "plugins"))
    wrong: list[str] = []
    for uri, (status, pattern) in EXPECTED.items():
        info = found[uri]
        if info.status != status or not re.search(
            pattern.replace("{dir}", directory), info.reason
        ):
            wrong.append(f"{uri}: {info.status}: {info.reason}")
    assert not wrong, "\n".join(wrong)
    others = {uri: one.status for uri, one in found.items() if uri not in EXPECTED}
    assert set(others.values()) <= {"ok", "skipped", "disabled"}, others
    assert len(found) >= len(EXPECTED) + 10


async def test_what_would_be_called_by_another_name_takes_nobodys(
    daemon: RunningDaemon,
) -> None:
    async with daemon.client(namespace="test") as client:
        assert (await client.images.list()).images == []
        assert (await client.leases.list()).leases == []


async def test_the_log_says_the_same_and_is_no_longer_than_that(
    daemon: RunningDaemon,
) -> None:
    async with daemon.client() as client:
        listed = await client.introspection.plugins()
    lines = daemon.log_text.splitlines()
    for info in listed.plugins:
        if info.status not in ("failed", "blocked"):
            continue
        reason = info.reason.replace('"', '\\"')
        place = next(
            number
            for number, line in enumerate(lines)
            if f"plugin={info.uri} reason=" in line
        )
        assert reason in lines[place]
        # What the core itself found out has no traceback, which would be through it.
        raised = info.status == "failed" and re.search(r"[a-z]Error: ", reason)
        assert lines[place + 1].startswith("Traceback" if raised else "time=")


async def test_a_table_shows_what_has_no_line_of_its_own(
    daemon: RunningDaemon,
) -> None:
    shows = {line.split()[0]: line for line in await listed_lines(daemon)}
    assert "No module named 'colour_of_the_sky'" in shows["importing"]
    assert 'did you mean "pluggd.images.v1"?' in shows["test.typo.v1"]
    assert shows["test.waiting.v1"].endswith("because test.tired.v1.x: failed")


async def listed_lines(daemon: RunningDaemon) -> list[str]:
    return (await shown(daemon, "plugins", "ls")).splitlines()


async def test_a_deprecated_one_runs_with_a_warning(daemon: RunningDaemon) -> None:
    assert daemon.status("test.old.v1.x") == "ok"
    assert "old.py) was written for plugin API 0.9, which is deprecated" in (
        daemon.log_text
    )


async def test_a_wrong_option_stops_nothing_that_runs(
    daemon: RunningDaemon, tmp_path: Path
) -> None:
    file = tmp_path / "d" / "config.toml"
    lines = len(file.read_text().splitlines())
    with file.open("a") as config:
        config.write('\n[plugins."test.good.v1.x"]\ncolour = "blue"\n')
    async with daemon.client() as client:
        with pytest.raises(InvalidArgument) as caught:
            await client.get(management.MANAGEMENT).reload()
        assert re.search(rf"config.toml:{lines + 3}: .*colour", str(caught.value))
    assert "{}" in await shown(daemon, "call", "good.v1.do")
