# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tasks outlive the daemon, and what happened meanwhile is known afterwards."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.lowlevel

from pluggd.services.tasks import Input, Output, Stdio
from pluggd.testing import RunningDaemon, running_daemon
from tests.plugins.tasks.kit import Kit, left_behind


@asynccontextmanager
async def session(
    place: Path, config: dict[str, Any], rootfs: Path
) -> AsyncGenerator[tuple[RunningDaemon, Kit]]:
    """A daemon in a process of its own, and a client."""
    async with (
        running_daemon(place, config, subprocess=True) as daemon,
        daemon.client(namespace="default") as client,
    ):
        yield daemon, Kit(client, rootfs)


async def killed(daemon: RunningDaemon) -> None:
    assert daemon.process is not None
    daemon.kill(signal.SIGKILL)
    await daemon.process.wait()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "d"


async def until_gone(pid: int) -> None:
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    await trio.lowlevel.wait_readable(fd)
    os.close(fd)


async def test_a_killed_daemon_finds_its_tasks_again(
    place: Path, config: dict[str, Any], rootfs: Path
) -> None:
    with trio.fail_after(180):
        async with session(place, config, rootfs) as (daemon, kit):
            io = Stdio(stdin="stream")
            script = "echo before; read a; echo after $a; exit 6"
            living = await kit.running("living", "sh", "-c", script, io=io)
            await kit.tasks.read(id=living, wait=30)
            ended = await kit.running("ended", "sh", "-c", "read a; exit 9", io=io)
            execs = await kit.running("execs", "sleep", "1000")
            await kit.exec(execs, "e1", "read a; exit 4", stdin="stream")
            await kit.exec(execs, "e2", "sleep 1000")
            created = await kit.created("created", "true")
            frozen = await kit.running("frozen", "sleep", "1000")
            await kit.tasks.pause(id=frozen)
            done = await kit.shell("done", "echo done; exit 3")
            await kit.tasks.wait(id=done)
            pids = {
                cid: (await kit.tasks.get(id=cid)).process.pid
                for cid in (living, ended)
            }
            exec_pid = (await kit.tasks.get(id=execs)).execs[0].pid
            before = (await kit.client.events.bounds()).last
            await killed(daemon)

        # Nobody follows them now.
        os.kill(pids[ended], signal.SIGKILL)
        os.kill(exec_pid, signal.SIGTERM)
        await until_gone(pids[ended])
        await until_gone(exec_pid)

        async with session(place, config, rootfs) as (_, kit):
            tasks = {one.id: one for one in (await kit.tasks.list()).tasks}
            assert {cid: one.process.status for cid, one in tasks.items()} == {
                living: "running",
                ended: "stopped",
                execs: "running",
                created: "created",
                frozen: "paused",
                done: "stopped",
            }
            assert tasks[ended].process.exit_status == 137
            assert tasks[done].process.exit_status == 3
            e1, e2 = tasks[execs].execs
            assert (e1.status, e1.exit_status) == ("stopped", 143)
            assert e2.status == "running"
            page = await kit.client.events.poll(
                since=before, filters=['topic=="/tasks/exit"']
            )
            exits = [e.event.value for e in page.events]
            assert sorted((e["id"], e["exit_status"]) for e in exits) == [
                ("e1", 143),
                (ended, 137),
            ]

            # What it wrote before and after, and its stdin, are where they were.
            send, receive = trio.open_memory_channel[Output](64)
            await kit.attach(living, out=send, inputs=[Input(data=b"x\n")])
            send.close()
            text = b"".join([item.data async for item in receive])
            assert text == b"before\nafter x\n"
            assert (await kit.tasks.wait(id=living)).exit_status == 6
            assert await kit.text(done) == "done\n"

            await kit.tasks.start(id=created)
            assert (await kit.tasks.wait(id=created)).exit_status == 0
            await kit.tasks.resume(id=frozen)
            await kit.exec(execs, "e3", "exit 11")
            assert (await kit.tasks.wait(id=execs, exec_id="e3")).exit_status == 11
            await kit.remove_all()
    assert left_behind(place, f"t{os.getpid()}") == []


async def test_a_daemon_that_is_stopped_leaves_its_tasks_running(
    place: Path, config: dict[str, Any], rootfs: Path
) -> None:
    with trio.fail_after(180):
        async with session(place, config, rootfs) as (daemon, kit):
            cid = await kit.running("on", "sleep", "1000")
            assert await daemon.stop() == 0
        async with session(place, config, rootfs) as (_, kit):
            assert (await kit.tasks.get(id=cid)).process.status == "running"
            await kit.remove_all()
    assert left_behind(place, f"t{os.getpid()}") == []


class HeldRuntime:
    """A runtime whose first `create` says that it is at work and waits; when it may go
    on it takes a second more, for others to be faster. calls: what it did, in order."""

    def __init__(self, directory: Path, program: str) -> None:
        directory.mkdir()
        self.program = directory / os.path.basename(program)
        self._calls = directory / "calls"
        hold, reached, gate = (directory / name for name in ("hold", "reached", "gate"))
        hold.touch()
        for fifo in (reached, gate):
            os.mkfifo(fifo)
        self.program.write_text(
            f"""#!/bin/sh
case " $* " in
*" create "*)
    echo create >> {self._calls}
    if rm {hold} 2>/dev/null; then echo > {reached}; read -r go < {gate}; sleep 1; fi
    {program} "$@"
    code=$?
    echo created >> {self._calls}
    exit $code
    ;;
*" delete "*) echo delete >> {self._calls} ;;
esac
exec {program} "$@"
"""
        )
        self.program.chmod(0o755)
        # For both ways, so that neither side waits to open them.
        self._reached = os.open(reached, os.O_RDWR | os.O_CLOEXEC)
        self._gate = os.open(gate, os.O_RDWR | os.O_CLOEXEC)

    @property
    def calls(self) -> list[str]:
        return self._calls.read_text().split()

    async def at_work(self) -> None:
        await trio.lowlevel.wait_readable(self._reached)

    def go_on(self) -> None:
        os.write(self._gate, b"\n")

    def close(self) -> None:
        os.close(self._reached)
        os.close(self._gate)


@pytest.fixture
def held(runtime: str, tmp_path: Path) -> Generator[HeldRuntime]:
    made = HeldRuntime(tmp_path / "held", runtime)
    yield made
    made.close()


async def test_what_was_being_made_when_the_daemon_died_is_taken_back(
    place: Path, held: HeldRuntime, rootfs: Path
) -> None:
    """Also what the runtime makes only when the next daemon is there."""
    config = {"plugins": {"pluggd.tasks.v1.oci": {"runtimes": [str(held.program)]}}}
    with trio.fail_after(180):
        async with session(place, config, rootfs) as (daemon, kit):
            cid = await kit.container("making", ["sleep", "1000"])
            async with trio.open_nursery() as nursery:

                async def create() -> None:
                    with pytest.raises(Exception, match=r"."):
                        await kit.tasks.create(id=cid)

                nursery.start_soon(create)
                await held.at_work()
                await killed(daemon)
        held.go_on()
        async with session(place, config, rootfs) as (_, kit):
            assert (await kit.tasks.list()).tasks == []
            # Nothing is removed while something is still being made.
            assert held.calls == ["create", "created", "delete"]
            await kit.tasks.create(id=cid)
            await kit.remove_all()
    assert left_behind(place, f"t{os.getpid()}") == []


async def test_what_a_client_gave_up_while_it_was_made_is_taken_back(
    tmp_path: Path, held: HeldRuntime, rootfs: Path
) -> None:
    config = {"plugins": {"pluggd.tasks.v1.oci": {"runtimes": [str(held.program)]}}}
    with trio.fail_after(180):
        async with running_daemon(tmp_path / "d", config) as daemon:
            async with daemon.client(namespace="default") as client:
                kit = Kit(client, rootfs)
                cid = await kit.container("given-up", ["sleep", "1000"])
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(lambda: kit.tasks.create(id=cid))
                    await held.at_work()
                    nursery.cancel_scope.cancel()
            held.go_on()
            async with daemon.client(namespace="default") as client:
                kit = Kit(client, rootfs)
                while (await kit.tasks.list()).tasks:
                    await trio.lowlevel.checkpoint()
                assert held.calls == ["create", "created", "delete"]
                await kit.tasks.create(id=cid)
                await kit.remove_all()
    assert left_behind(tmp_path / "d", f"t{os.getpid()}") == []


def shim_of(place: Path, cid: str) -> int:
    """The shim is who holds the socket in the bundle."""
    import socket
    import struct

    bundle = place / "state" / "pluggd.tasks.v1.oci" / "bundles" / "default" / cid
    directory = os.open(bundle, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(f"/proc/self/fd/{directory}/shim.sock")
        peer = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    os.close(directory)
    pid: int = struct.unpack("3i", peer)[0]
    return pid


async def test_a_killed_shim_ends_its_task_with_a_reason(
    place: Path, config: dict[str, Any], rootfs: Path
) -> None:
    """Nothing hangs: who waits and who is attached are told."""
    with trio.fail_after(180):
        async with session(place, config, rootfs) as (_, kit):
            cid = await kit.running("lost", "sleep", "1000")
            await kit.exec(cid, "e1", "sleep 1000")
            pid = (await kit.tasks.get(id=cid)).process.pid
            async with trio.open_nursery() as nursery:
                nursery.start_soon(kit.output, cid)
                nursery.start_soon(lambda: kit.tasks.wait(id=cid, exec_id="e1"))
                os.kill(shim_of(place, cid), signal.SIGKILL)
                found = await kit.tasks.wait(id=cid)
            assert found.exit_status == 255
            assert "was it killed?" in found.error
            await until_gone(pid)
            await kit.tasks.delete(id=cid)
            await kit.remove_all()
    assert left_behind(place, f"t{os.getpid()}") == []


async def test_a_task_whose_shim_has_just_gone_can_be_deleted(
    daemon: RunningDaemon, kit: Kit, tmp_path: Path
) -> None:
    """Before the daemon has taken in that it is over."""
    cid = await kit.running("going", "sleep", "1000")
    shim = shim_of(tmp_path / "d", cid)
    fd = os.pidfd_open(shim)
    os.kill(shim, signal.SIGKILL)
    # Without giving the daemon, which runs here, a turn.
    assert select.select([fd], [], [], 30)[0]
    os.close(fd)
    assert (await kit.tasks.delete(id=cid, force=True)).exit_status == 255


async def test_a_shim_that_was_killed_while_no_daemon_ran(
    place: Path, config: dict[str, Any], rootfs: Path
) -> None:
    with trio.fail_after(180):
        async with session(place, config, rootfs) as (daemon, kit):
            cid = await kit.running("lost", "sleep", "1000")
            await killed(daemon)
        os.kill(shim_of(place, cid), signal.SIGKILL)
        async with session(place, config, rootfs) as (_, kit):
            found = (await kit.tasks.get(id=cid)).process
            assert (found.status, found.exit_status) == ("stopped", 255)
            assert "was it killed?" in found.error
            await kit.remove_all()
    assert left_behind(place, f"t{os.getpid()}") == []
