# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Bad luck, with a real daemon: clients that die, disks that fill up, kills at the worst
moments, databases that are broken. What was acknowledged is there afterwards, nothing
half-done is visible, and the next start needs no help.
"""

from __future__ import annotations

import hashlib
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import lmdb
import pytest

from pluggd.testing.images import small_layout
from tests.disks import small_disk as small_disk_at
from tests.e2e.raw_socket import DaemonProcess, RawSocket, Refusal, daemon_process

MIB = 1 << 20
GC = "pluggd.gc.v1.scheduler"


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def commit(raw: RawSocket, ref: str, data: bytes, **more: Any) -> Any:
    """A blob in one call, kept by a label of its own."""
    labels = {"containerd.io/gc.root": "1"}
    write = {"ref": ref, "action": "commit", "data": data, "labels": labels, **more}
    return raw.call("content.v1.write", write)


def until(true: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def received(raw: RawSocket, ref: str) -> int:
    """Bytes that an ingest has; 0 also before there is one."""
    answer = raw.call("content.v1.status", {"ref": ref})
    # A field that holds its default is absent.
    return 0 if isinstance(answer, Refusal) else answer["status"].get("offset", 0)


@pytest.fixture
def daemon(tmp_path: Path) -> Generator[DaemonProcess]:
    with daemon_process(tmp_path / "d") as running:
        yield running


# --- clients


def test_a_client_that_dies_in_a_write_leaves_what_was_acknowledged(
    daemon: DaemonProcess,
) -> None:
    with daemon.connect("ns") as raw:
        raw.result("content.v1.write", {"ref": "r", "data": b"01234", "total": 10})
        arguments = {"ref": "r", "offset": 5, "data": b"56789"}
        request = raw.pack([0, 9, "content.v1.write", [arguments, {"namespace": "ns"}]])
        raw.sock.sendall(request[:-20])
    with daemon.connect("ns") as raw:
        status = raw.result("content.v1.status", {"ref": "r"})["status"]
        assert (status["offset"], status["total"]) == (5, 10)
        assert raw.result("content.v1.list") == {}
        arguments["action"] = "commit"
        assert raw.result("content.v1.write", arguments)["digest"] == digest_of(
            b"0123456789"
        )


def test_a_client_that_dies_in_a_stream_leaves_an_ingest_to_resume(
    daemon: DaemonProcess,
) -> None:
    data = random.Random(1).randbytes(9 * MIB)
    with daemon.connect("ns") as raw:
        ingest = raw.begin("content.v1.ingest", {"ref": "r", "total": len(data)})
        for start in range(0, 8 * MIB, MIB):
            raw.send([2, "$/item", [ingest, data[start : start + MIB]]])
        with daemon.connect("ns") as other:
            until(lambda: received(other, "r"), "the first bytes were written")
    with daemon.connect("ns") as raw:
        stat = {"ref": "r", "action": "stat"}
        until(
            lambda: not isinstance(raw.call("content.v1.write", stat), Refusal),
            "the dead client's lock is gone",
        )
        offset = raw.result("content.v1.write", stat)["offset"]
        assert 0 < offset <= 8 * MIB
        assert raw.result("content.v1.list") == {}
        rest = {"ref": "r", "action": "commit", "offset": offset, "data": data[offset:]}
        assert raw.result("content.v1.write", rest)["digest"] == digest_of(data)


def test_a_blob_that_does_not_match_is_not_seen(daemon: DaemonProcess) -> None:
    with daemon.connect("ns") as raw:
        wanted = digest_of(b"what was promised")
        refusal = commit(raw, "r", b"something else", expected=wanted)
        assert refusal.code == "failed_precondition"
        ingest = raw.begin("content.v1.ingest", {"ref": "s", "expected": wanted})
        raw.send([2, "$/item", [ingest, b"other"]], [2, "$/end", [ingest]])
        assert raw.answer(ingest)[0] == "failed_precondition"
        assert raw.result("content.v1.list") == {}
        assert raw.refusal("content.v1.info", {"digest": wanted}).code == "not_found"
        assert not any("blobs" in file for file in daemon.files())


def test_an_import_of_a_client_that_dies_leaves_nothing(daemon: DaemonProcess) -> None:
    archive = small_layout("docker.io/library/x:1").tar()
    with daemon.connect("ns") as raw:
        call = raw.begin("transfer.v1.import", {})
        raw.send([2, "$/item", [call, archive[: len(archive) * 3 // 4]]])
        with daemon.connect("ns") as other:
            until(lambda: other.result("transfer.v1.status"), "the import is under way")
    with daemon.connect("ns") as raw:
        until(lambda: not raw.result("transfer.v1.status"), "the import is over")
        assert raw.result("images.v1.list") == {}
        assert raw.result("leases.v1.list") == {}
        raw.result("gc.v1.run", {"wait": True})
        assert raw.result("content.v1.list") == {}
        assert daemon.files() == []


# --- disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Generator[Path]:
    """48 MiB, of which the database keeps 8 for the time when it is full."""
    with small_disk_at(tmp_path / "disk", 48 * MIB) as path:
        yield path


def filled(raw: RawSocket, size: int, before: int = 0) -> int:
    """Commit blobs of this size until there is no room; how many there are."""
    for number in range(before, 100_000):
        answer = commit(raw, f"fill-{size}-{number}", number.to_bytes(8) * (size // 8))
        if isinstance(answer, Refusal):
            assert answer.code == "resource_exhausted", answer
            assert "no space left" in answer.text
            return number
    raise AssertionError("the disk is never full")


def test_a_full_disk_refuses_writes_and_nothing_else(small_disk: Path) -> None:
    with daemon_process(small_disk / "d") as daemon:
        with daemon.connect("ns") as raw:
            target = {"media_type": "m", "digest": digest_of(b"x"), "size": 1}
            raw.result("images.v1.create", {"image": {"name": "a", "target": target}})
            count = filled(raw, MIB)
            assert count > 20
            small = filled(raw, 4096)
            before = raw.result("content.v1.list")["infos"]
            assert len(before) == count + small

        # It is as full as it gets, and everything but writing works, also after a
        # restart, also after kill -9.
        for stop in (daemon.stop, daemon.kill):
            stop()
            daemon.start()
        with daemon.connect("ns") as raw:
            assert raw.result("content.v1.list")["infos"] == before
            first = (0).to_bytes(8) * (MIB // 8)
            read = {"digest": digest_of(first), "verify": True}
            assert raw.result("content.v1.read", read)["data"] == first
            assert raw.result("images.v1.get", {"name": "a"})
            raw.result("gc.v1.run", {"wait": True})
            assert commit(raw, "more", b"x" * MIB).code == "resource_exhausted"
            raw.result("images.v1.delete", {"name": "a", "sync": True})

            victims = [digest_of(n.to_bytes(8) * (MIB // 8)) for n in range(5)]
            for victim in victims:
                raw.result("content.v1.delete", {"digest": victim})
            stats = raw.result("gc.v1.run", {"wait": True})["stats"]
            assert stats
            statuses = raw.result("content.v1.list_statuses").get("statuses", [])
            for status in statuses:
                raw.result("content.v1.abort", {"ref": status["ref"]})
            assert "offset" in commit(raw, "again", b"y" * MIB)
            assert raw.result(
                "images.v1.create", {"image": {"name": "b", "target": target}}
            )
            left = {info["digest"] for info in raw.result("content.v1.list")["infos"]}
            gone = {info["digest"] for info in before} - left
            assert gone == set(victims)
        assert "Traceback" not in daemon.log


# --- two daemons


def test_a_second_daemon_names_the_first(daemon: DaemonProcess, tmp_path: Path) -> None:
    for what, flags in {
        f"root {daemon.root}": ["--root", str(daemon.root)],
        f"socket {daemon.address}": ["--address", str(daemon.address)],
    }.items():
        other = DaemonProcess(tmp_path / flags[0])
        other.spawn(flags=flags)
        assert other.wait() == 4
        assert f"{what} is in use by another pluggd (pid {daemon.pid})" in other.log
        ready = other.log.partition("is in use")[0]
        assert "Traceback" not in ready
    with daemon.connect() as raw:
        raw.result("introspection.v1.health")


def test_the_socket_of_another_program_is_left_alone(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path / "d")
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.bind(str(daemon.address))
        stranger.listen()
        daemon.spawn()
        assert daemon.wait() == 1
        assert f"another program listens on {daemon.address}" in daemon.log
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(daemon.address))
    # Dead now, and the daemon takes its place.
    assert daemon.address.exists()
    daemon.start()
    assert daemon.stop() == 0
    assert not daemon.address.exists()


# --- kill -9


def killed_after(daemon: DaemonProcess, seconds: float) -> None:
    time.sleep(seconds)
    daemon.kill()


@pytest.mark.slow
def test_kill_9_in_the_middle_of_a_start_needs_no_help(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path / "d")
    try:
        began = time.monotonic()
        daemon.start()
        took = time.monotonic() - began
        with daemon.connect("ns") as raw:
            assert commit(raw, "r", b"kept")["offset"] == 4
        daemon.kill()
        moments = random.Random(7)
        for _ in range(6):
            daemon.spawn()
            killed_after(daemon, moments.uniform(0, took))
        daemon.start()
        with daemon.connect("ns") as raw:
            read = raw.result("content.v1.read", {"digest": digest_of(b"kept")})
            assert read["data"] == b"kept"
        daemon.kill()
        # The first start ever, too.
        for number in range(4):
            fresh = DaemonProcess(tmp_path / f"fresh{number}")
            fresh.spawn()
            killed_after(fresh, moments.uniform(0.2, 1) * took)
            fresh.start()
            fresh.kill()
    finally:
        if daemon.process is not None:
            daemon.kill()


@pytest.mark.slow
def test_kill_9_in_the_middle_of_a_collection_loses_nothing_that_is_kept(
    tmp_path: Path,
) -> None:
    config = f'[plugins."{GC}"]\nstartup_delay = "0ms"\n'
    with daemon_process(tmp_path / "d", config) as daemon:
        moments = random.Random(3)
        kept: dict[str, bytes] = {}
        for turn in range(4):
            with daemon.connect("ns") as raw:
                raw.result("leases.v1.create", {"id": f"l{turn}"})
                for number in range(40):
                    # Those that are rooted have no file and one, in turn.
                    data = f"{turn}-{number:02}".encode() * (300, 5000)[number // 2 % 2]
                    labels = {"containerd.io/gc.root": "1"} if number % 2 else {}
                    write = {"ref": "r", "action": "commit", "data": data}
                    raw.result(
                        "content.v1.write",
                        write | {"labels": labels},
                        lease=f"l{turn}",
                    )
                    if labels:
                        kept[digest_of(data)] = data
                raw.result("leases.v1.delete", {"id": f"l{turn}"})
                raw.begin("gc.v1.run", {"wait": True})
                killed_after(daemon, moments.uniform(0, 0.05))
            daemon.start()
            with daemon.connect("ns") as raw:
                for digest, data in kept.items():
                    read = {"digest": digest, "verify": True}
                    assert raw.result("content.v1.read", read)["data"] == data
                raw.result("gc.v1.run", {"wait": True, "full": True})
                infos = raw.result("content.v1.list")["infos"]
                assert {info["digest"] for info in infos} == set(kept)
        blobs = [file for file in daemon.files() if "blobs" in file]
        large = [data for data in kept.values() if len(data) > 16384]
        assert 0 < len(blobs) == len(large) < len(kept)


@pytest.mark.slow
def test_kill_9_in_the_middle_of_an_import_leaves_no_image_or_a_whole_one(
    tmp_path: Path,
) -> None:
    layout = small_layout("docker.io/library/x:1")
    archive = layout.tar()
    with daemon_process(tmp_path / "d") as daemon:
        moments = random.Random(5)
        for turn in range(6):
            space = f"ns{turn}"
            with daemon.connect(space) as raw:
                call = raw.begin("transfer.v1.import", {})
                raw.send([2, "$/item", [call, archive]], [2, "$/end", [call]])
                killed_after(daemon, moments.uniform(0, 0.06))
            daemon.start()
            with daemon.connect(space) as raw:
                images = raw.result("images.v1.list").get("images", [])
                if images:
                    for digest in layout.blobs:
                        read = {"digest": digest, "verify": True}
                        raw.result("content.v1.read", read)
                raw.result("gc.v1.run", {"wait": True})
                # And it can be done again.
                call = raw.begin("transfer.v1.import", {})
                raw.send([2, "$/item", [call, archive]], [2, "$/end", [call]])
                assert len(raw.answer(call)["images"]) == 1
                raw.result("gc.v1.run", {"wait": True})
                infos = raw.result("content.v1.list")["infos"]
                assert {info["digest"] for info in infos} == set(layout.blobs)


def test_killed_twice_in_a_row_it_starts_without_help(daemon: DaemonProcess) -> None:
    for _ in range(2):
        daemon.kill()
        assert daemon.address.exists()
        daemon.start()
    assert daemon.stop() == 0


# --- broken things


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "zeroes": lambda data: bytes(len(data)),
    "noise": lambda data: os.urandom(len(data)),
    "cut": lambda data: data[:4096],
    "used pages cut": lambda data: data[: 5 * 4096],
    "text": lambda data: b"# not a database\n",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_broken_database_is_told_and_left_as_it_is(
    daemon: DaemonProcess, damage: Callable[[bytes], bytes]
) -> None:
    with daemon.connect("ns") as raw:
        for number in range(50):
            commit(raw, "r", f"{number}".encode())
    daemon.stop()
    file = next(daemon.root.rglob("data.mdb"))
    broken = damage(file.read_bytes())
    file.write_bytes(broken)
    daemon.log_file.write_text("")
    daemon.start()
    with daemon.connect("ns") as raw:
        plugins = raw.result("introspection.v1.plugins")["plugins"]
        metadata = next(p for p in plugins if p["uri"] == "pluggd.metadata.v1.lmdb")
        assert metadata["status"] == "failed", metadata
        assert str(file) in metadata["reason"]
        refusal = raw.refusal("images.v1.list")
        assert refusal.code == "unavailable"
        assert str(file) in refusal.text
    assert daemon.stop() == 0
    assert file.read_bytes() == broken


def test_a_database_of_a_newer_program_is_told_with_the_way_out(
    daemon: DaemonProcess,
) -> None:
    daemon.stop()
    directory = next(daemon.root.rglob("data.mdb")).parent
    with (
        lmdb.open(str(directory), max_dbs=64, lib_version=0) as file,
        file.begin(write=True) as txn,
    ):
        txn.put(b"version", b"9", db=file.open_db(b"schema", txn=txn))
    daemon.start()
    uri = "pluggd.metadata.v1.lmdb"
    lines = pluggctl(daemon, "plugins", "info", uri)
    (reason,) = (line for line in lines if line.startswith("Reason:"))
    assert f"{directory}/data.mdb has version 9" in reason
    (way_out,) = (line for line in lines if line.startswith("Way out:"))
    assert way_out.endswith(f"then `pluggctl plugins restart {uri}`")
    health = {line.split()[0]: line for line in pluggctl(daemon, "health")}
    # Each line says what is in the way, and not once more what it is about.
    _, status, said = health["leases.v1"].split(None, 2)
    assert status == "not_serving"
    assert said.startswith("because pluggd.leases.v1.manager: blocked, because")
    assert not said.endswith("unavailable")


def pluggctl(daemon: DaemonProcess, *arguments: str) -> list[str]:
    """The lines that it prints."""
    command = [sys.executable, "-m", "pluggd.cli.pluggctl", "-a", str(daemon.address)]
    done = subprocess.run(
        [*command, *arguments], stdout=subprocess.PIPE, text=True, check=False
    )
    return done.stdout.splitlines()


# --- limits


def test_the_limit_of_open_files_is_raised(tmp_path: Path) -> None:
    def lower() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 2048))

    daemon = DaemonProcess(tmp_path / "d")
    try:
        daemon.start(lower)
        assert resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE) == (2048, 2048)
        connections = [daemon.connect() for _ in range(500)]
        connections[-1].result("introspection.v1.health")
        for connection in connections:
            connection.sock.close()
    finally:
        daemon.kill()


def test_a_client_beyond_the_limit_of_open_files_hurts_nobody(tmp_path: Path) -> None:
    def lower() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    daemon = DaemonProcess(tmp_path / "d")
    connections: list[RawSocket] = []
    try:
        daemon.start(lower)
        with daemon.connect() as raw:
            connections += [daemon.connect() for _ in range(80)]
            raw.result("introspection.v1.health")
            for connection in connections:
                connection.sock.close()
            with daemon.connect() as late:
                late.result("introspection.v1.health")
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait() == 0
    finally:
        daemon.kill()


# --- signals


def test_sigusr1_names_the_calls_and_what_they_wait_for(daemon: DaemonProcess) -> None:
    with daemon.connect("ns") as raw:
        raw.begin("events.v1.poll", {"wait": 60})
        raw.result("introspection.v1.health")
        daemon.send_signal(signal.SIGUSR1)
        until(lambda: "metadata statistics" in daemon.log, "the log has all")
        assert "events.v1.poll, request c" in daemon.log
        assert "plugin pluggd.metadata.v1.lmdb\n" in daemon.log
        assert "wait_task_rescheduled" not in daemon.log
        raw.result("introspection.v1.health")


def test_a_second_sigterm_does_not_wait_for_the_calls(tmp_path: Path) -> None:
    """An import that never ends is what keeps the first one."""
    config = "rpc.grace = 60.0\n"
    with daemon_process(tmp_path / "d", config) as daemon, daemon.connect("ns") as raw:
        call = raw.begin("transfer.v1.import", {})
        until(lambda: raw_transfers(daemon), "the import is under way")
        daemon.send_signal(signal.SIGTERM)
        until(lambda: "daemon stopping" in daemon.log, "the first is heard")
        daemon.send_signal(signal.SIGTERM)
        assert raw.answer(call).code in ("canceled", "unavailable")
        assert daemon.wait(timeout=15) == 0
        assert "in a hurry" in daemon.log
        assert not daemon.address.exists()


def raw_transfers(daemon: DaemonProcess) -> Any:
    with daemon.connect("ns") as raw:
        return raw.result("transfer.v1.status")


def test_a_signal_at_the_very_end_does_not_kill(daemon: DaemonProcess) -> None:
    """Many of them, from the first until the process is gone."""
    daemon.send_signal(signal.SIGTERM)
    assert daemon.process is not None
    while daemon.process.poll() is None:
        daemon.send_signal(signal.SIGTERM)
        time.sleep(0.001)
    assert daemon.wait() == 0
