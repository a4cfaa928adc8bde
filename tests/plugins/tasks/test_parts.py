# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The parts of tasks that need neither root nor a runtime."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
import trio.testing

from pluggd.model.events import TaskOOM
from pluggd.plugin import Skip
from pluggd.services.tasks import Output
from pluggd.shim.frames import BadFrame, Frames, fields_of, pack
from pluggd.shim.logwriter import LogWriter
from pluggd.testing import running_daemon
from plugins.tasks import oom
from plugins.tasks.cgroups import cgroup_of
from plugins.tasks.logs import LogReader
from plugins.tasks.runtime import failed, last_error

URI = "pluggd.tasks.v1.oci"


async def test_without_a_runtime_the_reason_is_shown(tmp_path: Path) -> None:
    config = {"plugins": {URI: {"runtimes": ["no-such-runtime"]}}}
    async with running_daemon(tmp_path, config) as daemon:
        (found,) = [one for one in daemon.daemon.plugins() if one.uri == URI]
        assert found.status == "skipped"
        expected = "root" if os.geteuid() else "none of no-such-runtime is on PATH"
        assert expected in found.reason
        assert daemon.status("pluggd.containers.v1.store") == "ok"
        # Said before anything is fetched for it.
        name = "registry.invalid/never/asked:1"
        done = await trio.run_process(
            [
                *(sys.executable, "-m", "pluggd.cli.pluggctl"),
                *("--address", str(daemon.address), "run", "--rm", name, "x"),
            ],
            capture_stderr=True,
            check=False,
        )
        assert done.returncode == 1
        assert expected in done.stderr.decode()
        assert name not in done.stderr.decode()


async def test_without_root_the_reason_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_daemon(tmp_path) as daemon:
        monkeypatch.setattr("plugins.tasks.registration.os.geteuid", lambda: 1000)
        from plugins.tasks.registration import pluggd_register, start

        assert pluggd_register().start is start
        with pytest.raises(Skip, match=r"needs root .* runs as uid 1000"):
            async with start(None):  # type: ignore[arg-type]
                raise AssertionError
        monkeypatch.undo()
        assert daemon.status("pluggd.containers.v1.store") == "ok"


def test_frames_arrive_byte_by_byte() -> None:
    frames = Frames()
    data = pack(1, "a", "", "b") + pack(4, b"\0\xff")
    found = [one for byte in data for one in frames.feed(bytes([byte]))]
    assert found == [(1, b"a\0\0b"), (4, b"\0\xff")]
    assert fields_of(found[0][1]) == ["a", "", "b"]
    with pytest.raises(BadFrame):
        frames.feed(b"\1\xff\xff\xff\xff")


def test_a_log_is_bounded_and_says_what_is_lost(tmp_path: Path) -> None:
    writer = LogWriter(str(tmp_path / "l"), size=1000, files=2)
    reader = LogReader(tmp_path / "l", 0)
    writer.append(1, b"first")
    assert [one.data for one in reader.read()] == [b"first"]
    assert reader.read() == []
    for number in range(100):
        writer.append(2, b"%03d" % number * 30)
    writer.finish()
    items: list[Output] = []
    while found := reader.read():
        items += found
    assert reader.done
    lost = sum(one.lost for one in items)
    assert lost > 0
    assert items[-1].data[:3] == b"099"
    kept = sum(one.stat().st_size for one in (tmp_path / "l").iterdir())
    assert kept < 2 * 1000 + 2 * 103
    assert lost + sum(len(one.data) + 13 for one in items) == 100 * 103
    reader.close()


def test_the_end_is_told_to_each_who_reads_on(tmp_path: Path) -> None:
    writer = LogWriter(str(tmp_path), size=10_000, files=2)
    writer.append(1, b"all")
    writer.finish()
    position = 0
    for expected in ([b"all"], [], []):
        reader = LogReader(tmp_path, position)
        assert [one.data for one in reader.read()] == expected
        assert reader.done
        position = reader.position
        reader.close()


def test_any_position_is_a_position(tmp_path: Path) -> None:
    """A caller's number may lie in the middle of a record: reading goes on at the next."""
    writer = LogWriter(str(tmp_path), size=10_000, files=2)
    for number in range(10):
        writer.append(1, bytes([number]) * 100)
    for position in range(0, 1200, 7):
        reader = LogReader(tmp_path, position)
        items = reader.read()
        reader.close()
        assert all(len(one.data) == 100 for one in items)
        assert len(items) == max(0, 10 - (position + 112) // 113)


def test_a_record_that_was_cut_off_is_skipped(tmp_path: Path) -> None:
    writer = LogWriter(str(tmp_path), size=10_000, files=3)
    writer.append(1, b"whole")
    (file,) = tmp_path.iterdir()
    with file.open("ab") as stream:
        stream.write(b"\0\0\0")
    reader = LogReader(tmp_path, 0)
    assert [one.data for one in reader.read()] == [b"whole"]
    assert reader.read() == []
    reader.close()


def test_errors_of_a_runtime_are_found_in_what_it_says() -> None:
    said = b'{"level":"error","msg":"one"}\nplain\n{"level":"info","msg":"x"}\n'
    assert last_error(said) == "one"
    assert last_error(b"first\nsecond\n") == "second"
    error = failed("crun create", 1, b"cgroups in hybrid mode not supported")
    assert "use runc" in str(error)
    assert "said nothing" in str(failed("crun create", 3, b""))


def fake_proc(tmp_path: Path, membership: str, mounts: str) -> Path:
    (tmp_path / "proc/7").mkdir(parents=True)
    (tmp_path / "proc/self").mkdir()
    (tmp_path / "proc/7/cgroup").write_text(membership)
    (tmp_path / "proc/self/mountinfo").write_text(mounts)
    return tmp_path / "proc"


def test_control_groups_of_version_2(tmp_path: Path) -> None:
    top = tmp_path / "cg"
    proc = fake_proc(
        tmp_path, "0::/box\n", f"30 25 0:26 / {top} rw - cgroup2 cgroup2 rw\n"
    )
    (top / "box/inner").mkdir(parents=True)
    for name, text in {
        "memory.current": "4096\n",
        "memory.max": "8192\n",
        "memory.events": "low 0\noom 3\noom_kill 2\n",
        "cpu.stat": "usage_usec 5000\nuser_usec 3000\nsystem_usec 2000\n",
        "pids.current": "2\n",
        "pids.max": "max\n",
        "io.stat": "8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=1 wbytes=2\n",
        "cgroup.procs": "7\n",
        "inner/cgroup.procs": "9\n",
    }.items():
        (top / "box" / name).write_text(text)
    group = cgroup_of(7, proc)
    assert group is not None
    stats = group.stats("id", 1)
    assert (stats.cgroup_version, stats.memory, stats.memory_limit) == (2, 4096, 8192)
    assert (stats.cpu, stats.cpu_user) == (5_000_000, 3_000_000)
    assert (stats.pids, stats.pids_limit) == (2, 0)
    assert (stats.read_bytes, stats.written_bytes, stats.oom_kills) == (11, 22, 2)
    assert group.pids() == [7, 9]
    assert group.oom_file == top / "box/memory.events"


class FakeGroup:
    """A control group whose processes are killed when a test says so."""

    version = 2
    oom_file = Path("memory.events")

    def __init__(self) -> None:
        self.kills = 0

    def oom_kills(self) -> int:
        return self.kills


class SlowTable:
    """begun: set when the first event is being written."""

    def __init__(self) -> None:
        self.begun = trio.Event()
        self.told: list[str] = []

    async def emit(self, namespace: str, event: TaskOOM) -> None:
        self.begun.set()
        await trio.testing.wait_all_tasks_blocked()
        self.told.append(event.container_id)


async def test_a_kill_for_memory_is_told_though_the_task_is_over_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    group, table = FakeGroup(), SlowTable()
    reader, writer = os.pipe()

    @contextmanager
    def notifying(*_: object) -> Generator[int]:
        yield reader

    monkeypatch.setattr(oom, "cgroup_of", lambda pid: group)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    monkeypatch.setattr(oom, "notifying", notifying)
    task: Any = SimpleNamespace(
        id="x",
        namespace="ns",
        created=trio.Event(),
        record=SimpleNamespace(process=SimpleNamespace(pid=1)),
        oom_kills=0,
    )
    task.created.set()
    log = logging.LoggerAdapter(logging.getLogger("test"), {})
    watch = oom.OomWatch(task, cast("Any", table), log)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch.run)
            await trio.testing.wait_all_tasks_blocked()
            group.kills = 1
            os.write(writer, b"!")
            await table.begun.wait()
            watch.stop()
    assert table.told == ["x"]
    os.close(reader)
    os.close(writer)


def test_a_process_in_no_group_of_its_own_has_no_figures(tmp_path: Path) -> None:
    proc = fake_proc(tmp_path, "0::/\n", "30 25 0:26 / /cg rw - cgroup2 cgroup2 rw\n")
    assert cgroup_of(7, proc) is None
    assert cgroup_of(8, proc) is None
