# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Plugins in other processes, in a daemon: dead ones, hanging ones, ones that return."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
import trio

from pluggd.client import Client
from pluggd.errors import AlreadyExists, DeadlineExceeded, Unavailable
from pluggd.model.record import Record
from pluggd.plugin import Context, NoConfig, Registration
from pluggd.proxy import serve_kind
from pluggd.services.kind import Kind
from pluggd.services.rpc import rpc
from pluggd.testing import RunningDaemon, running_daemon

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples" / "proxy"
URI = "test.greeter.v1.far"


class Greeting(Record, frozen=True):
    text: str = ""


class Greeter(Protocol):
    @rpc(namespaced=False)
    async def greet(self, *, name: str) -> Greeting: ...

    @rpc(namespaced=False)
    async def hang(self) -> None: ...


GREETER: Kind[Greeter] = Kind("test.greeter.v1", Greeter)


class Polite:
    async def greet(self, *, name: str) -> Greeting:
        if not name:
            raise AlreadyExists('greeting "": already exists')
        return Greeting(text=f"hello, {name}")

    async def hang(self) -> None:
        await trio.sleep_forever()


def who_knows_the_kind() -> Registration[Any, Any]:
    @asynccontextmanager
    async def start(ctx: Context[NoConfig]) -> AsyncGenerator[object]:
        yield object()

    return Registration(
        provides=Kind("test.user.v1", object), id="x", start=start, wants=(GREETER,)
    )


@pytest.fixture
def address() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pluggd-", dir="/tmp") as directory:
        yield Path(directory) / "far.sock"


@asynccontextmanager
async def running(
    tmp_path: Path, address: Path, **options: Any
) -> AsyncGenerator[tuple[RunningDaemon, Client]]:
    entry = {"kind": "greeter", "address": str(address), **options}
    with trio.fail_after(30):
        async with (
            running_daemon(
                tmp_path, {"proxy_plugins": {"far": entry}}, [who_knows_the_kind()]
            ) as daemon,
            daemon.client(namespace="default") as client,
        ):
            yield daemon, client


def reason(daemon: RunningDaemon, uri: str = URI) -> str:
    return next(one.reason for one in daemon.daemon.plugins() if one.uri == uri)


async def until(daemon: RunningDaemon, connected: bool, uri: str = URI) -> None:
    while (reason(daemon, uri) == "") is not connected:  # noqa: ASYNC110 - of the link
        await trio.sleep(0.005)


async def test_calls_and_errors_go_through(tmp_path: Path, address: Path) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_kind, GREETER, Polite(), address)
        async with running(tmp_path, address) as (_, client):
            greeter = client.get(GREETER)
            assert (await greeter.greet(name="you")).text == "hello, you"
            with pytest.raises(AlreadyExists, match=r'^greeting "": already exists$'):
                await greeter.greet(name="")
            info = await client.introspection.plugin(uri=URI)
            assert (info.status, info.origin) == ("ok", f"proxy: {address}")
            stats = await client.introspection.stats(names=["proxy_memory_bytes"])
            (memory,) = stats.figures[0].samples
            assert memory.labels == {"plugin": URI}
            assert memory.value > 0
        nursery.cancel_scope.cancel()


async def test_a_process_that_is_not_there_harms_nobody_and_may_come_later(
    tmp_path: Path, address: Path
) -> None:
    async with (
        running(tmp_path, address) as (daemon, client),
        trio.open_nursery() as nursery,
    ):
        assert daemon.status(URI) == "ok"
        assert (
            reason(daemon) == f"cannot connect to {address}: no such file or directory"
        )
        with pytest.raises(Unavailable, match="no such file or directory"):
            await client.get(GREETER).greet(name="you")
        assert (await client.images.list()).images == []
        await nursery.start(serve_kind, GREETER, Polite(), address)
        await until(daemon, connected=True)
        assert (await client.get(GREETER).greet(name="you")).text == "hello, you"
        nursery.cancel_scope.cancel()


async def test_a_process_that_dies_fails_its_calls_and_is_connected_again(
    tmp_path: Path, address: Path
) -> None:
    async with trio.open_nursery() as nursery:
        first = trio.CancelScope()

        async def serve_first(task_status: trio.TaskStatus[None]) -> None:
            with first:
                await serve_kind(GREETER, Polite(), address, task_status=task_status)

        await nursery.start(serve_first)
        async with running(tmp_path, address) as (daemon, client):
            async with trio.open_nursery() as calls:

                async def hang() -> None:
                    with pytest.raises(Unavailable, match="lost"):
                        await client.get(GREETER).hang()

                calls.start_soon(hang)
                while daemon.daemon.services.dispatcher.statistics.in_flight == 0:
                    await trio.lowlevel.checkpoint()
                # One round more, for the call to be on its way.
                await client.get(GREETER).greet(name="you")
                first.cancel()
            await until(daemon, connected=False)
            await nursery.start(serve_kind, GREETER, Polite(), address)
            await until(daemon, connected=True)
            assert (await client.get(GREETER).greet(name="you")).text == "hello, you"
        nursery.cancel_scope.cancel()


async def test_a_call_that_takes_too_long_is_given_up(
    tmp_path: Path, address: Path
) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_kind, GREETER, Polite(), address)
        async with running(tmp_path, address, timeout=0.05) as (_, client):
            with pytest.raises(
                DeadlineExceeded, match=r"did not answer within 0\.05 s"
            ):
                await client.get(GREETER).hang()
            # The connection is still good; this machine may take longer than that itself.
            said = ""
            while not said:
                with contextlib.suppress(DeadlineExceeded):
                    said = (await client.get(GREETER).greet(name="you")).text
            assert said == "hello, you"
        nursery.cancel_scope.cancel()


async def test_a_process_that_hangs_is_found_out(tmp_path: Path, address: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as deaf:
        deaf.bind(str(address))
        deaf.listen()
        async with running(tmp_path, address, heartbeat=0.05) as (daemon, client):
            assert "does not answer" in reason(daemon)
            with pytest.raises(Unavailable, match="does not answer"):
                await client.get(GREETER).greet(name="you")
            assert (await client.images.list()).images == []


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("greetr", 'no plugin knows the kind "greetr"'),
        ("metadata", "update, view work in process only"),
        ("unpack", "begin work in process only"),
    ],
)
async def test_what_cannot_be_proxied_says_why(
    tmp_path: Path, address: Path, kind: str, why: str
) -> None:
    async with running(tmp_path, address, kind=kind) as (daemon, client):
        failed = [one for one in daemon.daemon.plugins() if one.id == "far"]
        assert [one.status for one in failed] == ["failed"]
        assert failed[0].reason.startswith("proxy_plugins.far: ")
        assert why in failed[0].reason
        assert (await client.images.list()).images == []


async def test_mistakes_in_the_file_have_a_line(tmp_path: Path, address: Path) -> None:
    with pytest.raises(Exception, match=r"config\.toml:1: proxy_plugins\.far\.timeot"):
        async with running(tmp_path, address, timeot=1):
            pass


async def test_a_reload_leaves_a_proxy_that_did_not_change(
    tmp_path: Path, address: Path
) -> None:
    async with running(tmp_path, address) as (_, client):
        assert (await client.management.reload()).plugins == []


@asynccontextmanager
async def process(
    command: list[str], address: Path, **env: str
) -> AsyncGenerator[None]:
    program = await trio.lowlevel.open_process(
        [*command, str(address)], env={**os.environ, **env}
    )
    try:
        while not await trio.Path(address).exists():
            assert program.poll() is None
            await trio.sleep(0.01)
        yield
    finally:
        program.kill()
        await program.wait()


async def test_the_example_in_python(tmp_path: Path, address: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "greeter.py")]
    with trio.fail_after(30):
        async with process(command, address):
            await _greeted(tmp_path, address)


@pytest.mark.skipif(
    shutil.which("node") is None or shutil.which("npm") is None,
    reason="node or npm is not installed (Debian: nodejs, npm)",
)
async def test_the_example_in_javascript(tmp_path: Path, address: Path) -> None:
    node, npm = shutil.which("node"), shutil.which("npm")
    assert node is not None
    assert npm is not None
    with trio.fail_after(120):
        package = "@msgpack/msgpack@3.1.3"
        why = "it does not answer"
        with trio.move_on_after(60):
            installed = await trio.run_process(
                [npm, "install", "--silent", "--prefix", str(tmp_path), package],
                check=False,
                capture_stderr=True,
                stdin=subprocess.DEVNULL,
            )
            why = ""
            if installed.returncode != 0:
                why = installed.stderr.decode()[-200:] or "npm failed"
        if why:
            pytest.skip(f"no package index: {why}")
        command = [node, str(EXAMPLES / "greeter.mjs")]
        with socket.socket(socket.AF_UNIX) as killed:
            killed.bind(str(address))  # nobody took it away
        async with process(command, address, NODE_MSGPACK=str(tmp_path)):
            await _greeted(tmp_path / "daemon", address)


class ExampleGreeter(Protocol):
    @rpc(namespaced=False)
    async def greet(self, *, name: str) -> Greeting: ...


async def _greeted(tmp_path: Path, address: Path) -> None:
    """The daemon knows the kind by a file in plugin_dirs and nothing else."""
    directory = tmp_path / "plugins.d"
    directory.mkdir(parents=True)
    shutil.copy(EXAMPLES / "knows_greeter.py", directory)
    config = {
        "plugin_dirs": [str(directory)],
        "proxy_plugins": {"far": {"kind": "greeter", "address": str(address)}},
    }
    async with running_daemon(tmp_path, config) as daemon, daemon.client() as client:
        kind: Kind[ExampleGreeter] = Kind("example.greeter.v1", ExampleGreeter)
        while "proxy connected" not in daemon.log_text:  # noqa: ASYNC110 - of the link
            await trio.sleep(0.01)
        assert (await client.get(kind).greet(name="you")).text == "hello, you"
        with pytest.raises(Exception, match=r"^nobody has no name: not found$"):
            await client.get(kind).greet(name="")
        told = await trio.run_process(
            [
                *(sys.executable, "-m", "pluggd.cli.pluggctl"),
                *("--address", str(daemon.address)),
                *("plugins", "info", "example.greeter.v1.far"),
            ],
            capture_stdout=True,
        )
        assert "Calls:        2, 1 with an error" in told.stdout.decode()
        assert re.search(r"\nMemory: +[0-9.]+ MiB\n", told.stdout.decode())
