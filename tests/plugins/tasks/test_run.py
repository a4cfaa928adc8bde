# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""`pluggctl run` and `tasks`, as a person and as a script use them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from pluggd.testing import RunningDaemon
from tests.plugins.registry.registry_kit import Answer, Asked, SmallImage, scripted
from tests.plugins.tasks.kit import Kit, archive
from tests.plugins.tasks.screen import at_terminal

IMAGE = "docker.io/library/busybox:latest"


class Ctl:
    def __init__(self, daemon: RunningDaemon, rootfs: Path, prefix: str) -> None:
        self._daemon = daemon
        self.rootfs = str(rootfs)
        self.prefix = prefix

    def command(self, *arguments: str) -> list[str]:
        module = (sys.executable, "-m", "pluggd.cli.pluggctl")
        return [*module, "--address", str(self._daemon.address), *arguments]

    async def __call__(
        self, *arguments: str, stdin: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        return await trio.run_process(
            self.command(*arguments),
            stdin=stdin,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )

    def id(self, name: str) -> str:
        return f"{self.prefix}-{name}"


@pytest.fixture
def ctl(daemon: RunningDaemon, kit: Kit, rootfs: Path) -> Ctl:
    return Ctl(daemon, rootfs, kit.prefix)


async def test_run_prints_and_leaves_nothing(ctl: Ctl) -> None:
    args = ("run", "--rm", "--rootfs", ctl.rootfs, ctl.id("hello"))
    done = await ctl(*args, "echo", "hello")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"hello\n", b"")
    done = await ctl(*args, "sh", "-c", "echo oh >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"", b"oh\n")
    assert (await ctl("tasks", "ls", "-q")).stdout == b""
    assert (await ctl("containers", "ls", "-q")).stdout == b""


async def test_run_of_what_cannot_start_takes_everything_back(ctl: Ctl) -> None:
    done = await ctl("run", "--rootfs", ctl.rootfs, ctl.id("no"), "/bin/nosuch")
    assert done.returncode == 1
    assert b"/bin/nosuch" in done.stderr
    assert (await ctl("tasks", "ls", "-q")).stdout == b""
    assert (await ctl("containers", "ls", "-q")).stdout == b""


async def test_an_id_that_is_taken_is_named_with_the_ways_out(ctl: Ctl) -> None:
    id_ = ctl.id("taken")
    run = ("run", "-d", "--rootfs", ctl.rootfs, id_, "true")
    assert (await ctl(*run)).returncode == 0
    again = await ctl(*run)
    assert again.returncode == 5
    assert f'container "{id_}": already exists'.encode() in again.stderr
    assert b"pluggctl tasks start ID" in again.stderr
    task = await ctl("tasks", "start", id_)
    assert (task.returncode, b"`pluggctl tasks rm`" in task.stderr) == (5, True)
    # An image that is not here is not pulled for nothing.
    args = ("127.0.0.1:1/no/such:image", id_)
    assert b"pulling" not in (await ctl("run", "-d", *args)).stderr


async def test_run_passes_stdin_and_its_end(ctl: Ctl) -> None:
    large = os.urandom(3 << 20)
    args = ("run", "--rm", "-i", "--rootfs", ctl.rootfs, ctl.id("in"))
    done = await ctl(*args, "cat", stdin=large)
    assert done.returncode == 0, done.stderr
    assert done.stdout == large


async def test_run_from_an_image(ctl: Ctl, kit: Kit, tmp_path: Path) -> None:
    """Its command, environment, user, directory and labels come from the image; the
    snapshot goes with the container, and what nothing keeps is collected."""
    config = {
        "Entrypoint": ["/bin/sh", "-c"],
        "Cmd": ["echo default $GREETING; id -u; pwd"],
        "Env": ["GREETING=hello", "PATH=/bin"],
        "User": "app",
        "WorkingDir": "/tmp",
        "Labels": {"team": "blue", "containerd.io/gc.root": "x"},
        "StopSignal": "SIGKILL",
    }
    file = tmp_path / "image.tar"
    file.write_bytes(archive(kit.rootfs, IMAGE, config))
    assert (await ctl("images", "import", str(file))).returncode == 0
    run = ("run", "--rm", IMAGE, ctl.id("image"))
    done = await ctl(*run)
    assert (done.stdout, done.stderr) == (b"default hello\n1000\n/tmp\n", b"")
    done = await ctl(*run, "echo mine")
    assert done.stdout == b"mine\n"

    kept = ctl.id("kept")
    done = await ctl("run", "-d", IMAGE, kept, "sleep 1000")
    assert (done.returncode, done.stdout.decode()) == (0, f"{kept}\n")
    container = await kit.client.containers.get(id=kept)
    assert container.labels == {
        "team": "blue",
        "io.containerd.image.config.stop-signal": "SIGKILL",
    }
    # The running container keeps its snapshot, with the chain below it, not its image.
    assert (await ctl("images", "rm", "--sync", IMAGE)).returncode == 0
    assert (await ctl("tasks", "exec", kept, "id", "-u")).stdout == b"1000\n"
    assert (await ctl("snapshots", "ls")).stdout.count(b"\n") == 3
    other = ctl.id("other")
    assert (await ctl("containers", "create", other)).returncode == 0
    refused = await ctl("containers", "rm", kept, other)
    assert (refused.returncode, refused.stdout.decode()) == (1, f"{other}\n")
    assert b"has a task, which is running" in refused.stderr
    assert (await ctl("tasks", "kill", kept)).returncode == 0
    assert (await ctl("tasks", "wait", kept)).stdout == b"137\n"
    assert (await ctl("tasks", "rm", kept)).returncode == 0
    assert (await ctl("containers", "rm", kept)).returncode == 0
    await ctl("gc", "run")
    assert (await ctl("snapshots", "ls")).stdout.count(b"\n") == 1


async def test_run_at_a_terminal(ctl: Ctl) -> None:
    args = ("run", "--rm", "-t", "-i", "--rootfs", ctl.rootfs, ctl.id("tty"))
    async with at_terminal(ctl.command(*args, "sh")) as screen:
        await screen.shows("# ")
        assert screen.is_raw()
        screen.type("stty size; tty\r")
        await screen.shows("33 91")
        await screen.shows("/dev/pts/0")
        screen.resize(120, 40)
        screen.type(
            "while [ \"$(stty size)\" != '40 120' ]; do :; done; echo si''zed\r"
        )
        await screen.shows("sized")
        # ctrl-c goes to what runs there, and not to pluggctl
        screen.type("sh -c \"echo as''leep; exec sleep 1000\"\r")
        await screen.shows("asleep")
        screen.type("\x03")
        screen.type("echo al''ive\r")
        await screen.shows("alive")
        screen.type("exit 5\r")
        assert await screen.ends() == 5
        assert not screen.is_raw()


async def test_a_person_can_leave_and_come_back(ctl: Ctl) -> None:
    id_ = ctl.id("detach")
    run = ctl.command("run", "-t", "-i", "--rootfs", ctl.rootfs, id_, "sh")
    async with at_terminal(run) as screen:
        await screen.shows("# ")
        screen.type("\x10\x11")
        assert await screen.ends() == 0
        assert f"tasks attach {id_}" in screen.seen
    async with at_terminal(ctl.command("tasks", "attach", id_)) as screen:
        screen.type("echo ba''ck; exit 3\r")
        await screen.shows("back")
        assert await screen.ends() == 3
    done = await ctl("tasks", "logs", id_)
    assert b"back" in done.stdout


async def test_exec_at_a_terminal_and_without(ctl: Ctl) -> None:
    id_ = ctl.id("exec")
    await ctl("run", "-d", "--rootfs", ctl.rootfs, id_, "sleep", "1000")
    done = await ctl("tasks", "exec", "-u", "app", "-w", "/tmp", id_, "pwd")
    assert (done.returncode, done.stdout) == (0, b"/tmp\n"), done.stderr
    done = await ctl("tasks", "exec", "-i", id_, "cat", stdin=b"through\n")
    assert (done.returncode, done.stdout) == (0, b"through\n")
    # crun starts the process before the shim has the terminal and can give it a size.
    sized = "until stty size 2>&1 | grep -q '^[1-9]'; do :; done; stty size"
    async with at_terminal(
        ctl.command("tasks", "exec", "-t", id_, "sh", "-c", sized)
    ) as s:
        assert await s.ends() == 0, s.seen
        assert "33 91" in s.seen
    assert b"sleep 1000" in (await ctl("tasks", "ps", id_)).stdout
    assert id_.encode() in (await ctl("tasks", "stats")).stdout


async def test_signals_go_to_the_process(ctl: Ctl) -> None:
    script = "trap 'exit 9' TERM; echo ready; while :; do sleep 0.01; done"
    args = ("run", "--rm", "--rootfs", ctl.rootfs, ctl.id("sig"), "sh", "-c", script)
    process = await trio.lowlevel.open_process(
        ctl.command(*args), stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.receive_some() == b"ready\n"
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 9


async def test_when_nobody_reads_the_output_the_process_ends(ctl: Ctl) -> None:
    args = ctl.command("run", "--rm", "--rootfs", ctl.rootfs, ctl.id("pipe"), "yes")
    process = await trio.lowlevel.open_process(args, stdout=subprocess.PIPE)
    assert process.stdout is not None
    await process.stdout.receive_some(2)
    await process.stdout.aclose()
    assert await process.wait() == 141
    assert (await ctl("tasks", "ls", "-q")).stdout == b""


async def test_a_pull_that_was_interrupted_goes_on_with_the_next_run(ctl: Ctl) -> None:
    image = SmallImage(layer=bytes(range(256)) * 4000)
    broken, hangs = True, trio.Event()

    async def answer(asked: Asked) -> Answer:
        found = image.answer(asked)
        if asked.target == image.layer_path and broken:
            if "range" in asked.headers:
                hangs.set()
                await trio.sleep_forever()
            found.stop = 600_000
        return found

    with trio.fail_after(120):
        async with scripted(answer) as server:
            args = ("run", f"{server.host}/library/x:latest", ctl.id("pulled"))
            process = await trio.lowlevel.open_process(
                ctl.command(*args), stderr=subprocess.DEVNULL
            )
            await hangs.wait()
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 130
            assert (await ctl("gc", "run", "--wait")).returncode == 0
            broken = False
            # Fetched as a whole; it is no image that could run.
            assert b"mismatched image rootfs" in (await ctl(*args)).stderr
    layer = [one for one in server.asked if one.target == image.layer_path]
    assert layer[-1].headers["range"] == "bytes=600000-"


async def test_options_that_exclude_each_other(ctl: Ctl) -> None:
    done = await ctl("run", "--rm", "-d", "image", "id")
    assert (done.returncode, b"--rm and --detach" in done.stderr) == (2, True)
    done = await ctl("run", "-t", "image", "id")
    assert (done.returncode, b"--tty needs a terminal" in done.stderr) == (2, True)
