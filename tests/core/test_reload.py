# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The configuration read again while the daemon runs: SIGHUP and `management.v1.reload`."""

from __future__ import annotations

import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
import trio

from pluggd.client import Client
from pluggd.errors import InvalidArgument, NotImplemented_, PermissionDenied
from pluggd.model.record import Record
from pluggd.plugin import Context, Registration
from pluggd.services.kind import Kind
from pluggd.services.rpc import rpc
from pluggd.testing import RunningDaemon, running_daemon

URI = "test.a.v1.x"


class Options(Record, frozen=True):
    size: int = 1
    colour: str = "red"


class Configured:
    """A plugin that takes `colour` while it runs. seen: the options of each start, and
    those that it took since. refuses: whether it takes none."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int, str]] = []
        self.refuses = False

    def registration(self) -> Registration[Any, Any]:
        @asynccontextmanager
        async def start(ctx: Context[Options]) -> AsyncGenerator[object]:
            def reload(options: Options) -> None:
                if self.refuses:
                    raise ValueError("not today")
                self.seen.append(("reload", options.size, options.colour))

            ctx.on_reload(reload)
            self.seen.append(("start", ctx.config.size, ctx.config.colour))
            yield object()

        return Registration(
            provides=Kind("test.a.v1", object),
            id="x",
            start=start,
            config=Options,
            live=("colour",),
        )


@asynccontextmanager
async def running(
    tmp_path: Path, text: str = ""
) -> AsyncGenerator[tuple[RunningDaemon, Configured, Client]]:
    plugin = Configured()
    with trio.fail_after(120):
        async with (
            running_daemon(tmp_path, text, [plugin.registration()]) as daemon,
            daemon.client(namespace="default") as client,
        ):
            yield daemon, plugin, client


def write(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.toml").write_text(text)


async def test_an_unchanged_file_changes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, "strict = false") as (_, plugin, client):
        change = await client.management.reload()
        assert (change.options, change.plugins, change.warnings) == ([], [], [])
        assert plugin.seen == [("start", 1, "red")]


async def test_other_options_restart_the_plugin(tmp_path: Path) -> None:
    async with running(tmp_path) as (_, plugin, client):
        write(tmp_path, f'[plugins."{URI}"]\nsize = 2\ncolour = "blue"')
        change = await client.management.reload()
        assert plugin.seen[1:] == [("start", 2, "blue")]
        assert [(one.key, one.old, one.new, one.effect) for one in change.options] == [
            (f'plugins."{URI}".size', "1", "2", "restart"),
            (f'plugins."{URI}".colour', '"red"', '"blue"', "live"),
        ]
        assert change.options[0].origin.endswith("config.toml:2")
        assert [(one.uri, one.action) for one in change.plugins] == [(URI, "restart")]


async def test_live_options_are_taken_without_a_stop(tmp_path: Path) -> None:
    async with running(tmp_path) as (_, plugin, client):
        write(tmp_path, f'[plugins."{URI}"]\ncolour = "blue"')
        change = await client.management.reload()
        assert plugin.seen[1:] == [("reload", 1, "blue")]
        actions = [(one.uri, one.action, one.after) for one in change.plugins]
        assert actions == [(URI, "reconfigure", "ok")]


async def test_a_plugin_that_does_not_take_them_is_restarted(tmp_path: Path) -> None:
    async with running(tmp_path) as (daemon, plugin, client):
        plugin.refuses = True
        write(tmp_path, f'[plugins."{URI}"]\ncolour = "blue"')
        change = await client.management.reload()
        assert plugin.seen[1:] == [("start", 1, "blue")]
        assert [(one.uri, one.action) for one in change.plugins] == [(URI, "restart")]
        assert "not today" in daemon.log_text


async def test_a_plan_changes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as (_, plugin, client):
        write(tmp_path, f'disabled_plugins = ["{URI}"]\n[log]\nlevel = "debug"')
        for _ in range(2):
            change = await client.management.reload(dry_run=True)
            assert [(one.key, one.effect) for one in change.options] == [
                ("disabled_plugins", "restart"),
                ("log.level", "live"),
            ]
            told = [(one.uri, one.action, one.after) for one in change.plugins]
            assert told == [(URI, "stop", "")]
        assert plugin.seen == [("start", 1, "red")]


async def test_mistakes_are_all_told_and_change_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as (_, plugin, client):
        write(
            tmp_path,
            f'[log]\nlevel = "debug"\n[plugins."{URI}"]\nsize = "no"\nsiez = 1',
        )
        with pytest.raises(InvalidArgument) as caught:
            await client.management.reload()
        first, second = caught.value.message.splitlines()
        assert "config.toml:4" in first
        assert "expected int" in first
        assert 'did you mean "size"' in second
        write(tmp_path, "")
        assert (await client.management.reload()).options == []
        assert plugin.seen == [("start", 1, "red")]


async def test_plugins_are_disabled_and_enabled_by_the_file(tmp_path: Path) -> None:
    async with running(tmp_path) as (daemon, plugin, client):
        write(tmp_path, f'disabled_plugins = ["{URI}"]')
        await client.management.reload()
        assert daemon.status(URI) == "disabled"
        write(tmp_path, "")
        await client.management.reload()
        assert daemon.status(URI) == "ok"
        assert plugin.seen == [("start", 1, "red")] * 2


async def test_what_was_disabled_by_hand_stays_so(tmp_path: Path) -> None:
    async with running(tmp_path) as (daemon, _, client):
        await client.management.disable(uri=URI)
        write(tmp_path, '[log]\nlevel = "debug"')
        await client.management.reload()
        assert daemon.status(URI) == "disabled"


async def test_access_rules_and_log_level_are_in_force_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as (daemon, _, client):
        write(
            tmp_path,
            '[log]\nlevel = "error"\n[[rpc.access.rules]]\n'
            'methods = ["images.*"]\neffect = "deny"\n',
        )
        await client.management.reload()
        with pytest.raises(PermissionDenied):
            await client.images.list()
        assert daemon.daemon.log.logger.level == 40


async def test_what_needs_a_new_start_is_told_and_left(tmp_path: Path) -> None:
    async with running(tmp_path) as (daemon, _, client):
        write(tmp_path, "[rpc]\nmode = 0o600")
        for _ in range(2):
            change = await client.management.reload()
            assert [(one.key, one.new, one.effect) for one in change.options] == [
                ("rpc.mode", "0o600", "daemon")
            ]
            assert change.warnings == [
                "rpc.mode is in force when the daemon is started anew"
            ]
        assert daemon.daemon.configuration.settings.rpc.mode == 0o660


PLUGIN = """
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Protocol

from pluggd.model.record import Record
from pluggd.plugin import Context, Registration, hookimpl, inline
from pluggd.services.kind import Kind
from pluggd.services.rpc import rpc


class Answer(Record, frozen=True):
    text: str = ""


class Hello(Protocol):
    @rpc(namespaced=False)
    async def hello(self) -> Answer: ...


class Service:
    @inline
    def hello(self) -> Answer:
        return Answer(text="ANSWER")


@asynccontextmanager
async def start(ctx: Context[Any]) -> AsyncGenerator[Hello]:
    yield Service()


@hookimpl
def pluggd_register() -> Registration[Any, Any]:
    return Registration(provides=Kind("test.hello.v1", Hello), id="x", start=start)
"""


async def test_plugins_come_change_and_go_with_their_files(tmp_path: Path) -> None:
    directory = tmp_path / "plugins.d"
    directory.mkdir()
    file = directory / "hello.py"
    async with running(tmp_path, 'plugin_dirs = ["plugins.d"]') as (daemon, _, client):
        with pytest.raises(NotImplemented_):
            await _hello(client)
        file.write_text(PLUGIN.replace("ANSWER", "good day"))
        change = await client.management.reload()
        assert [(one.uri, one.action) for one in change.plugins] == [
            ("test.hello.v1.x", "start")
        ]
        assert await _hello(client) == "good day"
        file.write_text(PLUGIN.replace("ANSWER", "good eve"))
        change = await client.management.reload()
        assert [(one.uri, one.action) for one in change.plugins] == [
            ("test.hello.v1.x", "restart")
        ]
        assert await _hello(client) == "good eve"
        file.write_text("raise OSError('no such horse')")
        await client.management.reload()
        assert daemon.status("hello") == "failed"
        file.write_text(PLUGIN.replace("ANSWER", "mended"))
        await client.management.reload()
        assert await _hello(client) == "mended"
        file.unlink()
        change = await client.management.reload()
        assert [(one.uri, one.action, one.reason) for one in change.plugins] == [
            ("test.hello.v1.x", "stop", "removed")
        ]
        with pytest.raises(NotImplemented_):
            await _hello(client)
        assert "hello" not in str([one.uri for one in daemon.daemon.plugins()])


async def test_a_rule_may_come_before_what_it_is_for(tmp_path: Path) -> None:
    """It is a warning until the plugin is there, and holds from the first call on."""
    directory = tmp_path / "plugins.d"
    directory.mkdir()
    text = (
        'plugin_dirs = ["plugins.d"]\n[[rpc.access.rules]]\n'
        'methods = ["hello.*"]\neffect = "deny"\n'
    )
    async with running(tmp_path, text) as (_, _, client):
        change = await client.management.reload(dry_run=True)
        assert '"hello.*" matches no method' in "\n".join(change.warnings)
        (directory / "hello.py").write_text(PLUGIN)
        assert "matches no method" not in str(await client.management.reload())
        with pytest.raises(PermissionDenied):
            await _hello(client)


class Answer(Record, frozen=True):
    text: str = ""


class Hello(Protocol):
    @rpc(namespaced=False)
    async def hello(self) -> Answer: ...


async def _hello(client: Client) -> str:
    return (await client.get(Kind("test.hello.v1", Hello)).hello()).text


async def test_a_thousand_reloads_under_load_fail_no_call(tmp_path: Path) -> None:
    async with running(tmp_path) as (_, plugin, client):
        done = False

        async def load() -> None:
            while not done:
                await client.images.list()
                await client.namespaces.list()

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(load)
            for number in range(1000):
                level = ("info", "error")[number % 2]
                write(
                    tmp_path,
                    f'[log]\nlevel = "{level}"\n[plugins."{URI}"]\ncolour = "{number}"',
                )
                await client.management.reload()
            done = True
        assert len(plugin.seen) == 1001


async def test_sighup_reloads_and_a_mistake_is_in_the_log(tmp_path: Path) -> None:
    with trio.fail_after(30):
        async with running_daemon(tmp_path, subprocess=True) as daemon:
            write(tmp_path, '[log]\nformat = "jsno"')
            daemon.kill(signal.SIGHUP)
            await logged(daemon, "configuration not reloaded")
            assert "is none of text, json" in daemon.log_text
            write(tmp_path, '[log]\nformat = "json"')
            daemon.kill(signal.SIGHUP)
            await logged(daemon, '"msg": "configuration reloaded"')


async def logged(daemon: RunningDaemon, text: str) -> None:
    while text not in daemon.log_text:  # noqa: ASYNC110 - another process writes it
        await trio.sleep(0.01)
