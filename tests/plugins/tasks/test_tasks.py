# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Containers run: their output, their exits, their states and what is left of them."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import trio

from pluggd.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
)
from pluggd.model.types import Any
from pluggd.services.tasks import Input, Output, Resources, Stdio
from pluggd.testing import RunningDaemon
from tests.plugins.tasks.kit import Kit, zombies


async def topics(kit: Kit, since: int = 0) -> list[tuple[str, str]]:
    page = await kit.client.events.poll(since=since, filters=["topic~=^/tasks/"])
    return [(e.topic, e.event.value.get("id", "")) for e in page.events]


async def test_a_container_prints_and_its_exit_code_arrives(kit: Kit) -> None:
    cid = await kit.shell("hello", "echo hello; echo oh >&2; exit 7")
    found = {item.stream: item.data for item in await kit.output(cid)}
    assert found == {"stdout": b"hello\n", "stderr": b"oh\n"}
    assert (await kit.tasks.wait(id=cid)).exit_status == 7
    process = (await kit.tasks.get(id=cid)).process
    assert (process.status, process.exit_status) == ("stopped", 7)
    assert (await kit.tasks.delete(id=cid)).exit_status == 7
    with pytest.raises(NotFound, match=f"task {cid} not found"):
        await kit.tasks.wait(id=cid)


async def test_the_events_of_a_life_come_in_order(kit: Kit) -> None:
    cid = await kit.running("life", "sleep", "100")
    await kit.exec(cid, "e1", "exit 3")
    await kit.tasks.wait(id=cid, exec_id="e1")
    await kit.tasks.pause(id=cid)
    await kit.tasks.resume(id=cid)
    await kit.exec(cid, "e2", "sleep 100")
    await kit.tasks.kill(id=cid, signal=signal.SIGKILL)
    await kit.tasks.wait(id=cid)
    await kit.tasks.delete(id=cid)
    assert await topics(kit) == [
        ("/tasks/create", ""),
        ("/tasks/start", ""),
        ("/tasks/exec-added", ""),
        ("/tasks/exec-started", ""),
        ("/tasks/exit", "e1"),
        ("/tasks/paused", ""),
        ("/tasks/resumed", ""),
        ("/tasks/exec-added", ""),
        ("/tasks/exec-started", ""),
        ("/tasks/exit", "e2"),
        ("/tasks/exit", cid),
        ("/tasks/delete", ""),
    ]


async def test_a_command_that_does_not_exist_says_so_and_leaves_nothing(
    kit: Kit,
) -> None:
    cid = await kit.container("nosuch", ["/bin/nosuch"])

    async def begin() -> None:
        await kit.tasks.create(id=cid)
        await kit.tasks.start(id=cid)

    with pytest.raises(FailedPrecondition, match="/bin/nosuch"):
        await begin()  # which of the two finds it is the runtime's matter
    for task in (await kit.tasks.list()).tasks:
        await kit.tasks.delete(id=task.id, force=True)
    assert await topics(kit) in (
        [],
        [("/tasks/create", ""), ("/tasks/exit", cid), ("/tasks/delete", "")],
    )


async def test_errors_of_the_reference(kit: Kit) -> None:
    tasks = kit.tasks
    with pytest.raises(NotFound, match='container "no" in namespace "default"'):
        await tasks.get(id="no")
    cid = await kit.container("states", ["sleep", "100"])
    with pytest.raises(NotFound, match=rf"^task {cid} not found: not found$"):
        await tasks.get(id=cid)
    await tasks.create(id=cid)
    with pytest.raises(AlreadyExists, match=rf"^task {cid}: already exists$"):
        await tasks.create(id=cid)
    with pytest.raises(FailedPrecondition, match="cannot pause task in created state"):
        await tasks.pause(id=cid)
    await tasks.start(id=cid)
    with pytest.raises(FailedPrecondition, match="cannot start a running process"):
        await tasks.start(id=cid)
    with pytest.raises(FailedPrecondition, match="cannot resume a running process"):
        await tasks.resume(id=cid)
    with pytest.raises(FailedPrecondition, match="must be stopped before deletion"):
        await tasks.delete(id=cid)
    with pytest.raises(NotFound, match=r"^process does not exist zz: not found$"):
        await tasks.wait(id=cid, exec_id="zz")
    spec = Any(value={"args": ["true"]})
    with pytest.raises(InvalidArgument, match="exec id cannot be empty"):
        await tasks.exec(id=cid, exec_id="", spec=spec)
    await tasks.exec(id=cid, exec_id="e1", spec=spec)
    with pytest.raises(AlreadyExists, match=r"^id e1: already exists$"):
        await tasks.exec(id=cid, exec_id="e1", spec=spec)
    with pytest.raises(InvalidArgument, match="signal 99"):
        await tasks.kill(id=cid, signal=99)
    await tasks.pause(id=cid)
    with pytest.raises(FailedPrecondition, match="cannot pause a paused container"):
        await tasks.pause(id=cid)
    await tasks.kill(id=cid, signal=signal.SIGKILL)  # also when it is frozen
    assert (await tasks.wait(id=cid)).exit_status == 137
    with pytest.raises(NotFound, match=r"^process already finished: not found$"):
        await tasks.kill(id=cid)
    with pytest.raises(FailedPrecondition, match="cannot start a stopped process"):
        await tasks.start(id=cid)
    with pytest.raises(FailedPrecondition, match="cannot exec in a stopped state"):
        await tasks.exec(id=cid, exec_id="e2", spec=spec)


async def test_a_hundred_short_processes_lose_no_exit_code(kit: Kit) -> None:
    cid = await kit.running("many", "sleep", "100")
    codes: dict[int, int] = {}

    async def one(number: int) -> None:
        await kit.exec(cid, f"e{number}", f"exit {number}")
        codes[number] = (await kit.tasks.wait(id=cid, exec_id=f"e{number}")).exit_status
        await kit.tasks.delete(id=cid, exec_id=f"e{number}")

    for start in range(0, 24, 8):
        async with trio.open_nursery() as nursery:
            for number in range(start, start + 8):
                nursery.start_soon(one, number)
    assert codes == {number: number for number in range(24)}
    assert (await kit.tasks.get(id=cid)).execs == []
    await kit.remove(cid)
    assert zombies() == []


async def test_stdin_arrives_with_its_end(kit: Kit) -> None:
    cid = await kit.running("stdin", "cat", io=Stdio(stdin="stream"))
    large = bytes(range(256)) * 4096  # 1 MiB, more than every buffer on the way
    send, receive = trio.open_memory_channel[Output](0)
    got = bytearray()

    async def attach() -> None:
        async with send:
            await kit.attach(
                cid, out=send, inputs=[Input(data=large), Input(close=True)]
            )

    async with trio.open_nursery() as nursery:
        nursery.start_soon(attach)
        async for item in receive:
            got += item.data
    assert bytes(got) == large
    assert (await kit.tasks.wait(id=cid)).exit_status == 0


async def test_streams_can_be_files(kit: Kit, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("from a file\n")
    io = Stdio(stdin=str(tmp_path / "in"), stdout=str(tmp_path / "out"), stderr="null")
    cid = await kit.running("files", "sh", "-c", "cat; echo gone >&2", io=io)
    await kit.tasks.wait(id=cid)
    assert (tmp_path / "out").read_text() == "from a file\n"
    assert await kit.text(cid) == ""


async def test_clients_without_streams_can_do_the_same(kit: Kit) -> None:
    io = Stdio(stdin="stream")
    cid = await kit.running("plain", "sh", "-c", "read a; echo got $a", io=io)
    await kit.tasks.write(id=cid, data=b"it\n")
    found = await kit.tasks.read(id=cid, wait=30)
    assert [item.data for item in found.items] == [b"got it\n"]
    await kit.tasks.wait(id=cid)
    end = await kit.tasks.read(id=cid, since=found.next, wait=30)
    assert (end.items, end.done) == ([], True)


async def test_several_are_attached_and_a_slow_one_holds_nobody_up(kit: Kit) -> None:
    cid = await kit.created(
        "slow", "sh", "-c", "dd if=/dev/zero bs=1024 count=40960 2>/dev/null; exit 4"
    )
    send, receive = trio.open_memory_channel[Output](0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: kit.attach(cid, out=send))  # never reads
        await kit.tasks.start(id=cid)
        assert (await kit.tasks.wait(id=cid)).exit_status == 4
        # 40 MiB went into a log of 32: who reads now is told what is missing.
        items = await kit.output(cid)
        nursery.cancel_scope.cancel()
    receive.close()
    kept = sum(len(item.data) for item in items)
    assert items[0].lost > 0
    assert 16 << 20 <= kept < 40 << 20


async def test_one_that_must_not_lose_output_holds_the_process_up(kit: Kit) -> None:
    cid = await kit.created(
        "lossless", "sh", "-c", "dd if=/dev/zero bs=1024 count=40960 2>/dev/null"
    )
    send, receive = trio.open_memory_channel[Output](0)
    size = 0

    async def attach() -> None:
        async with send:
            await kit.attach(cid, out=send, lossless=True)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(attach)
        await kit.tasks.start(id=cid)
        # Not to be passed by waiting longer: as long as nobody reads, it cannot end.
        with trio.move_on_after(1):
            await kit.tasks.wait(id=cid)
            pytest.fail("it wrote all of it, more than is kept, and nobody read")
        async for item in receive:
            size += len(item.data)
            assert item.lost == 0
    assert size == 40 << 20


async def test_a_terminal_has_the_size_that_it_is_given(kit: Kit) -> None:
    io = Stdio(terminal=True, width=100, height=30, stdin="stream")
    cid = await kit.shell("tty", "stty size; read a; stty size; tty", io=io)
    send, receive = trio.open_memory_channel[Output](64)
    inputs = [Input(width=80, height=24), Input(data=b"\r")]
    await kit.attach(cid, out=send, inputs=inputs)
    send.close()
    text = b"".join([item.data async for item in receive]).decode()
    # The terminal echoes the return, also before anything was said.
    lines = [line for line in text.splitlines() if line]
    assert lines[0] in ("30 100", "24 80")
    assert "24 80" in lines


async def test_a_user_is_looked_up_in_the_image(kit: Kit) -> None:
    cid = await kit.shell("user", "id -u; id -g; id -G; echo $HOME", user="app")
    assert (await kit.text(cid)).split() == ["1000", "1001", "1001", "55", "/home/app"]
    other = await kit.container("nouser", ["true"], user="nobody-here")
    with pytest.raises(NotFound, match="no such user"):
        await kit.tasks.create(id=other)


async def test_limits_are_set_shown_and_changed(kit: Kit) -> None:
    cid = await kit.shell(
        "limits", "echo on; exec sleep 100", memory=64 << 20, pids=20, cpus=0.5
    )
    # Until it runs, threads of the runtime are in its control group.
    await kit.tasks.read(id=cid, wait=30)
    (stats,) = (await kit.tasks.stats(ids=[cid])).stats
    assert (stats.memory_limit, stats.pids_limit) == (64 << 20, 20)
    assert stats.memory > 0
    assert stats.pids == 1
    await kit.tasks.update(id=cid, resources=Resources(memory=96 << 20))
    (stats,) = (await kit.tasks.stats()).stats
    assert stats.memory_limit == 96 << 20
    await kit.exec(cid, "e1", "sleep 100")
    pids = (await kit.tasks.pids(id=cid)).processes
    assert {(p.init, p.exec_id) for p in pids} >= {(True, ""), (False, "e1")}


async def test_an_oom_kill_is_told(kit: Kit) -> None:
    cid = await kit.shell(
        "oom", "tail /dev/zero", memory=16 << 20, memory_swap=16 << 20
    )
    assert (await kit.tasks.wait(id=cid)).exit_status in (137, 1)
    page = await kit.client.events.poll(
        since=0, wait=10, filters=['topic=="/tasks/oom"']
    )
    assert [e.event.value["container_id"] for e in page.events][:1] == [cid]


async def test_namespaces_do_not_meet(daemon: RunningDaemon, kit: Kit) -> None:
    cid = await kit.running("same", "sleep", "100")
    async with daemon.client(namespace="other") as client:
        other = Kit(client, kit.rootfs)
        assert await other.shell("same", "exit 5") == cid
        assert (await other.tasks.wait(id=cid)).exit_status == 5
        await other.remove(cid)
    assert (await kit.tasks.get(id=cid)).process.status == "running"


async def test_a_container_of_another_runtime_is_refused_by_name(kit: Kit) -> None:
    from pluggd.services.containers import Container, Runtime

    cid = await kit.container("other", ["true"])
    container = await kit.client.containers.get(id=cid)
    await kit.client.containers.delete(id=cid)
    await kit.client.containers.create(
        container=Container(id=cid, runtime=Runtime(name="kata"), spec=container.spec)
    )
    with pytest.raises(FailedPrecondition, match=r'"kata", and there is (runc|crun)'):
        await kit.tasks.create(id=cid)
