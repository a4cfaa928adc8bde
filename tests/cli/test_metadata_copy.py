# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""`pluggd metadata copy`: a store in another provider's file, and a daemon on it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import trio

from pluggd.client.blocking import Client
from pluggd.testing import running_daemon
from pluggd.testing.images import small_layout

DIRECTIONS = [("lmdb", "sqlite"), ("sqlite", "lmdb")]
QUIET = """
[plugins."pluggd.gc.v1.scheduler"]
mutation_threshold = 0
startup_delay = "0ms"
"""
"""No collection by itself, so that candidates are there to be copied."""


def choice(provider: str) -> str:
    return f'[select]\nmetadata = "{provider}"\n{QUIET}'


def place(tmp_path: Path, provider: str) -> Path:
    return tmp_path / "root" / f"pluggd.metadata.v1.{provider}"


def offline(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "pluggd", "metadata", *arguments),
            *("--root", str(tmp_path / "root")),
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def copy(tmp_path: Path, origin: str, to: str) -> subprocess.CompletedProcess[str]:
    return offline(tmp_path, "copy", "--from", origin, "--to", to)


async def on(tmp_path: Path, provider: str, function: Callable[[Client], Any]) -> Any:
    """What the function says, on a daemon with this provider."""

    def call(address: str) -> Any:
        with Client(address, namespace="default") as client:
            return function(client)

    with trio.fail_after(60):
        async with running_daemon(tmp_path, choice(provider)) as daemon:
            return await trio.to_thread.run_sync(call, str(daemon.address))


def seed(client: Client) -> None:
    for name in ("one", "two"):
        layout = small_layout(f"example.com/{name}:1")
        client.upload("transfer.v1.import", {}, [layout.tar()])
    client.call("leases.v1.create", {"id": "kept"})
    client.call("images.v1.delete", {"name": "example.com/two:1"})


def state(client: Client) -> dict[str, Any]:
    return {
        method: client.call(method, {})
        for method in ("images.v1.list", "content.v1.list", "leases.v1.list")
    }


def events(client: Client, since: int, count: int) -> list[Any]:
    """The first events after `since`."""
    stream = client.stream("events.v1.subscribe", {"since": since}, timeout=20)
    try:
        return list(islice(stream, count))
    finally:
        stream.close()


@pytest.mark.parametrize(("origin", "to"), DIRECTIONS)
async def test_a_daemon_goes_on_with_the_copy(
    tmp_path: Path, origin: str, to: str
) -> None:
    await on(tmp_path, origin, seed)
    before = await on(tmp_path, origin, state)
    assert before["images.v1.list"]["images"]
    assert before["content.v1.list"]
    told = await on(tmp_path, origin, partial(events, since=0, count=3))
    done = await trio.to_thread.run_sync(copy, tmp_path, origin, to)
    assert done.returncode == 0, done.stderr
    assert f'[select] metadata = "{to}"' in done.stdout
    assert await on(tmp_path, to, state) == before
    assert await on(tmp_path, to, partial(events, since=0, count=3)) == told
    # It resumes where a subscriber stood, and numbers go on.
    assert await on(tmp_path, to, partial(events, since=2, count=1)) == told[2:]
    done = await trio.to_thread.run_sync(offline, tmp_path, "check", "--store", to)
    assert done.returncode == 0, done.stderr


async def test_what_is_in_use_or_there_already_is_not_touched(tmp_path: Path) -> None:
    await on(tmp_path, "lmdb", seed)
    with trio.fail_after(60):
        async with running_daemon(tmp_path, choice("lmdb")):
            done = await trio.to_thread.run_sync(copy, tmp_path, "lmdb", "sqlite")
    assert done.returncode == 4
    assert "in use by another pluggd" in done.stderr
    assert not place(tmp_path, "sqlite").exists()
    assert copy(tmp_path, "lmdb", "sqlite").returncode == 0
    again = copy(tmp_path, "lmdb", "sqlite")
    assert again.returncode == 1
    assert "holds a store already" in again.stderr
    missing = copy(tmp_path, "lmdb", "nothing")
    assert "there is lmdb, sqlite" in missing.stderr


async def test_a_copy_that_was_killed_leaves_nothing_in_the_place(
    tmp_path: Path,
) -> None:
    await on(tmp_path, "lmdb", seed)
    code = (
        "import os, sys\n"
        "from pluggd.metastore import copying\n"
        "copying._put = lambda *_, **__: os.kill(os.getpid(), 9)\n"
        "from pluggd.cli.entry import main\n"
        "sys.argv[0] = 'pluggd'\n"
        "main()"
    )
    killed = await trio.run_process(
        [
            *(sys.executable, "-c", code, "metadata", "copy", "--from", "lmdb"),
            *("--to", "sqlite", "--root", str(tmp_path / "root")),
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        capture_stderr=True,
        check=False,
    )
    assert killed.returncode == -9, killed.stderr
    assert not place(tmp_path, "sqlite").exists()
    assert (
        place(tmp_path, "sqlite")
        .with_name("pluggd.metadata.v1.sqlite.copying")
        .exists()
    )
    assert copy(tmp_path, "lmdb", "sqlite").returncode == 0
    assert not list((tmp_path / "root").glob("*.copying"))
