# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Signals, locks and exit codes of a daemon in a process of its own."""

from __future__ import annotations

import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from pluggd.testing import RunningDaemon, running_daemon

STUBBORN = """
from contextlib import asynccontextmanager
import time, trio
from pluggd.plugin import Registration, hookimpl
from pluggd.services.kind import Kind

@asynccontextmanager
async def start(ctx):
    BEFORE
    yield object()
    AFTER

@hookimpl
def pluggd_register():
    return Registration(provides=Kind("test.slow.v1", object), id="x", start=start)
"""


def slow_plugin(tmp_path: Path, before: str = "pass", after: str = "pass") -> str:
    directory = tmp_path / "plugins"
    directory.mkdir()
    text = STUBBORN.replace("BEFORE", before).replace("AFTER", after)
    (directory / "slow.py").write_text(text)
    return f'plugin_dirs = ["{directory}"]\n'


def read(log: Path) -> str:
    return log.read_text() if log.exists() else ""


async def wait_for_log(log: Path, text: str) -> None:
    with trio.fail_after(20):
        while text not in read(log):  # noqa: ASYNC110 - a file tells nobody
            await trio.sleep(0.01)


async def ended(daemon: RunningDaemon) -> int:
    assert daemon.process is not None
    with trio.fail_after(20):
        return await daemon.process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_the_daemon_cleanly(tmp_path: Path, number: int) -> None:
    async with running_daemon(tmp_path, subprocess=True) as daemon:
        assert stat.S_IMODE((tmp_path / "root").stat().st_mode) == 0o700
        assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o711
        daemon.kill(number)
        assert await ended(daemon) == 0
        assert not daemon.address.exists()
        assert "daemon stopped" in daemon.log_text
        assert "Traceback" not in daemon.log_text


async def test_a_second_signal_hurries(tmp_path: Path) -> None:
    # Without the second one it would take longer than `ended` waits.
    config = "stop_deadline = 1000.0\n" + slow_plugin(
        tmp_path, after="await trio.sleep(1000)"
    )
    async with running_daemon(tmp_path, config, subprocess=True) as daemon:
        daemon.kill(signal.SIGTERM)
        await wait_for_log(daemon.log_file, "daemon stopping")
        daemon.kill(signal.SIGTERM)
        assert await ended(daemon) == 0
        assert "in a hurry" in daemon.log_text


async def test_a_signal_during_the_start_stops_it(tmp_path: Path) -> None:
    config = slow_plugin(tmp_path, before='ctx.log.info("now"); await trio.sleep(1000)')
    file = tmp_path / "c.toml"
    file.write_text(config)
    log = tmp_path / "log"
    with log.open("w") as stream:
        process = await trio.lowlevel.open_process(
            [
                *(sys.executable, "-m", "pluggd", "run", "--config", str(file)),
                *("--root", str(tmp_path / "r"), "--state", str(tmp_path / "s")),
            ],
            stderr=stream,
        )
    await wait_for_log(log, "msg=now")
    process.terminate()
    with trio.fail_after(20):
        assert await process.wait() == 0
    assert "daemon ready" not in log.read_text()


async def test_a_second_signal_ends_a_daemon_whose_thread_is_blocked(
    tmp_path: Path,
) -> None:
    config = slow_plugin(tmp_path, after='ctx.log.info("blocked now"); time.sleep(60)')
    async with running_daemon(tmp_path, config, subprocess=True) as daemon:
        daemon.kill(signal.SIGTERM)
        await wait_for_log(daemon.log_file, "blocked now")
        daemon.kill(signal.SIGTERM)
        assert await ended(daemon) == 6
        assert "a plugin blocks the daemon (test.slow.v1.x)" in daemon.log_text


async def test_a_stop_is_bounded_also_when_a_plugin_blocks_the_thread(
    tmp_path: Path,
) -> None:
    config = slow_plugin(tmp_path, after="time.sleep(60)")
    config += "shutdown_deadline = 1.0\n[rpc]\ngrace = 0.5\n"
    async with running_daemon(tmp_path, config, subprocess=True) as daemon:
        daemon.kill(signal.SIGTERM)
        assert await ended(daemon) == 6
        assert "a plugin blocks the daemon (test.slow.v1.x)" in daemon.log_text


async def test_a_task_that_will_not_end_does_not_keep_the_daemon(
    tmp_path: Path,
) -> None:
    after = "\n    ".join(
        [
            "while True:",
            "    try:",
            "        await trio.sleep_forever()",
            "    except trio.Cancelled:",
            "        pass",
        ]
    )
    config = slow_plugin(tmp_path, after=after) + "stop_deadline = 0.1\n"
    async with running_daemon(tmp_path, config, subprocess=True) as daemon:
        daemon.kill(signal.SIGTERM)
        assert await ended(daemon) == 6
        assert "plugins would not stop" in daemon.log_text
        assert not daemon.address.exists()


async def test_sigusr1_writes_the_task_tree_with_plugins(tmp_path: Path) -> None:
    config = slow_plugin(tmp_path)
    async with running_daemon(tmp_path, config, subprocess=True) as daemon:
        daemon.kill(signal.SIGUSR1)
        await wait_for_log(daemon.log_file, "plugin test.slow.v1.x")
        await wait_for_log(daemon.log_file, "open_reads=0 open_updates=0 statistics=")
        assert 'msg="task tree"\n<init>\n' in daemon.log_text


async def test_sighup_does_not_kill(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, subprocess=True) as daemon:
        daemon.kill(signal.SIGHUP)
        await wait_for_log(daemon.log_file, "configuration reloaded")
        assert daemon.process is not None
        assert daemon.process.poll() is None


async def test_a_killed_daemon_leaves_nothing_in_the_way_of_the_next(
    tmp_path: Path,
) -> None:
    async with running_daemon(tmp_path, subprocess=True) as daemon:
        daemon.kill(signal.SIGKILL)
        await ended(daemon)
        assert daemon.address.exists()
        uuid = (tmp_path / "root" / "uuid").read_text()
    async with running_daemon(tmp_path, subprocess=True):
        assert (tmp_path / "root" / "uuid").read_text() == uuid


async def run(*arguments: object) -> subprocess.CompletedProcess[bytes]:
    with trio.fail_after(20):
        return await trio.run_process(
            [sys.executable, "-m", "pluggd", *map(str, arguments)],
            check=False,
            capture_stderr=True,
            capture_stdout=True,
        )


async def test_a_second_daemon_exits_with_4_and_names_the_first(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, subprocess=True) as daemon:
        places = ("--state", tmp_path / "s2", "--address", tmp_path / "other.sock")
        done = await run("run", "--root", tmp_path / "root", *places)
        assert done.returncode == 4
        assert f"(pid {daemon.pid})" in done.stderr.decode()
        places = ("--state", tmp_path / "s2", "--address", daemon.address)
        done = await run("run", "--root", tmp_path / "r2", *places)
        assert done.returncode == 4
        assert f"socket {daemon.address} is in use" in done.stderr.decode()


async def test_a_required_plugin_that_is_not_ok_is_exit_5(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(
        slow_plugin(tmp_path, before="raise OSError('gone')")
        + 'required_plugins = ["test.slow.v1.x"]'
    )
    places = ("--root", tmp_path / "r", "--state", tmp_path / "s")
    done = await run("run", "--config", file, *places)
    assert done.returncode == 5
    assert "test.slow.v1.x: failed: OSError: gone" in done.stderr.decode()


async def test_a_wrong_configuration_is_exit_3(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("strikt = true")
    done = await run("run", "--config", file)
    assert done.returncode == 3
    assert f"{file}:1: strikt: unknown key" in done.stderr.decode()


async def test_systemd_is_told_when_it_is_ready_and_when_it_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(str(tmp_path / "notify"))
        supervisor.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        async with running_daemon(tmp_path / "d", subprocess=True):
            assert supervisor.recv(1000).startswith(b"READY=1\n")
        assert supervisor.recv(1000) == b"STOPPING=1"
