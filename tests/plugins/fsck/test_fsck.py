# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The check of what is stored, both ways: each fault is found, a store in use has none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from pluggd.client.blocking import Client
from pluggd.errors import AlreadyExists, InvalidArgument, NotFound, PluggdError
from pluggd.testing import RunningDaemon, running_daemon

ROOT = {"containerd.io/gc.root": "1"}


FILES = """
[plugins."pluggd.content.v1.local"]
max_inline = 0
"""


class Stores:
    """A daemon with a blob, an ingest and three snapshots, and where they lie."""

    def __init__(self, daemon: RunningDaemon, path: Path) -> None:
        self.address = str(daemon.address)
        root = next(path.glob("root"))
        self.content = root / "pluggd.content.v1.local"
        self.snapshots = root / "pluggd.snapshotter.v1.native" / "snapshots"
        self.client = Client(self.address, namespace="ns")
        call = self.client.call
        self.digest: str = call(
            "content.v1.write",
            {"ref": "r", "action": "commit", "data": b"hello", "labels": ROOT},
        )["digest"]
        call("content.v1.write", {"ref": "open", "data": b"part", "total": 1 << 20})
        self.make("prepare", "a")
        (self.snapshots / "1" / "fs" / "file").write_text("text")
        asked = {"key": "a", "name": "one", "labels": ROOT, "snapshotter": "native"}
        call("snapshots.v1.commit", asked)
        self.make("prepare", "b", "one")
        self.make("view", "v", "one")
        self.blob = self.content / "blobs" / "sha256" / self.digest[7:]

    def make(self, method: str, key: str, parent: str = "") -> None:
        asked = {"key": key, "parent": parent, "labels": ROOT, "snapshotter": "native"}
        self.client.call(f"snapshots.v1.{method}", asked)

    def check(self, **asked: Any) -> dict[str, Any]:
        return self.client.call("fsck.v1.check", asked)

    def found(self, **asked: Any) -> list[tuple[str, str]]:
        """Problem and store of each finding."""
        findings = self.check(**asked).get("findings", [])
        return [(one["problem"], one["store"]) for one in findings]

    def flip(self, path: Path) -> None:
        path.chmod(0o644)
        data = bytearray(path.read_bytes())
        data[0] ^= 1
        path.write_bytes(data)

    def cut(self, path: Path) -> None:
        path.chmod(0o644)
        os.truncate(path, 2)


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncGenerator[Stores]:
    with trio.fail_after(60):
        async with running_daemon(tmp_path, FILES, subprocess=True) as daemon:
            stores = await trio.to_thread.run_sync(Stores, daemon, tmp_path)
            yield stores
            stores.client.close()


async def of(function: Callable[[], Any]) -> Any:
    return await trio.to_thread.run_sync(function)


async def test_a_sound_store_has_no_findings(stores: Stores) -> None:
    for deep in (False, True):
        report = await of(partial(stores.check, deep=deep))
        assert report.get("findings", []) == []
        assert report["checked"] == {"blobs": 1, "ingests": 1, "snapshots": 3}
        assert not report.get("failed")


CONTENT, NATIVE = "content", "snapshots/native"

Break = Callable[[Stores], object]
STRAYS: dict[str, tuple[Break, str]] = {
    "a blob": (lambda s: (s.blob.parent / ("a" * 64)).write_text("x"), CONTENT),
    "a file": (lambda s: (s.blob.parent / "x").write_text("x"), CONTENT),
    "an upper case blob": (
        lambda s: (s.blob.parent / ("A" * 64)).write_text("x"),
        CONTENT,
    ),
    "an ingest": (lambda s: (s.content / "ingest" / "x").write_text("x"), CONTENT),
    "one of a dead process": (
        lambda s: (s.content / "ingest" / "new-1-abc-1").write_text("x"),
        CONTENT,
    ),
    "beside all": (lambda s: (s.content / "x").write_text("x"), CONTENT),
    "a snapshot": (lambda s: (s.snapshots / "99" / "fs").mkdir(parents=True), NATIVE),
    "one half made": (lambda s: (s.snapshots / "new-7").mkdir(), NATIVE),
    "one half removed": (lambda s: (s.snapshots / "rm-1").mkdir(), NATIVE),
    "a file among them": (lambda s: (s.snapshots / "x").write_text("x"), NATIVE),
    "a pipe in one": (lambda s: os.mkfifo(s.snapshots / "1" / "x"), NATIVE),
    "a link in one": (lambda s: (s.snapshots / "1" / "x").symlink_to("fs"), NATIVE),
    "a file in one": (lambda s: (s.snapshots / "1" / "x").write_text("x"), NATIVE),
}


@pytest.mark.parametrize("name", STRAYS)
async def test_what_is_stray_is_found_and_removed(stores: Stores, name: str) -> None:
    make, store = STRAYS[name]
    await of(lambda: make(stores))
    assert await of(stores.found) == [("stray", store)]
    [finding] = (await of(lambda: stores.check(repair=True)))["findings"]
    assert finding["repaired"]
    assert not await of(lambda: os.path.lexists(finding["path"]))
    assert await of(lambda: stores.found(deep=True)) == []


async def test_a_stray_whose_name_is_no_text_is_found_and_removed(
    stores: Stores,
) -> None:
    strays = [
        os.fsencode(stores.blob.parent) + b"/\xff",
        os.fsencode(stores.snapshots / "1") + b"/\xfe",
    ]
    for stray in strays:
        await of(partial(os.symlink, "nowhere", stray))
    found = (await of(stores.check))["findings"]
    assert [one["path"][-5:] for one in found] == [r"/\xff", r"/\xfe"]
    await of(lambda: stores.check(repair=True))
    assert not await of(lambda: [one for one in strays if os.path.lexists(one)])
    assert await of(stores.found) == []


FAULTS: dict[str, tuple[Break, str, str, bool]] = {
    "a missing blob": (lambda s: s.blob.unlink(), "missing", CONTENT, False),
    "a truncated blob": (lambda s: s.cut(s.blob), "size", CONTENT, False),
    "a flipped byte": (lambda s: s.flip(s.blob), "digest", CONTENT, True),
    "a missing snapshot": (
        lambda s: (s.snapshots / "2").rename(s.content.parent / "away"),
        "missing",
        NATIVE,
        False,
    ),
    "missing files": (
        lambda s: (s.snapshots / "3" / "fs").rmdir(),
        "missing",
        NATIVE,
        False,
    ),
    "a missing file of a layer": (
        lambda s: (s.snapshots / "1" / "fs" / "file").unlink(),
        "size",
        NATIVE,
        True,
    ),
    "a truncated file of a layer": (
        lambda s: s.cut(s.snapshots / "1" / "fs" / "file"),
        "size",
        NATIVE,
        True,
    ),
    "a lost record": (
        lambda s: (s.snapshots / "1" / "record").unlink(),
        "record",
        NATIVE,
        False,
    ),
    "a changed record": (
        lambda s: s.flip(s.snapshots / "1" / "record"),
        "record",
        NATIVE,
        False,
    ),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_what_is_not_as_recorded_is_found(stores: Stores, name: str) -> None:
    damage, problem, store, needs_deep = FAULTS[name]
    await of(lambda: damage(stores))
    assert await of(lambda: stores.found(deep=True)) == [(problem, store)]
    assert await of(stores.found) == ([] if needs_deep else [(problem, store)])
    [finding] = (await of(lambda: stores.check(deep=True)))["findings"]
    assert finding["object"] in (stores.digest, "ns/one", "ns/b", "ns/v")
    assert finding["meaning"]
    assert finding["remedy"]


async def test_a_repaired_blob_is_served_to_nobody_until_it_comes_again(
    stores: Stores,
) -> None:
    await of(lambda: stores.flip(stores.blob))
    [finding] = (await of(lambda: stores.check(deep=True, repair=True)))["findings"]
    assert finding["repaired"]
    assert await of(stores.found) == [("damaged", "content")]
    read = {"digest": stores.digest}
    with pytest.raises(PluggdError, match="damaged"):
        await of(lambda: stores.client.call("content.v1.read", read))
    again = {"ref": "again", "action": "commit", "data": b"hello"}
    await of(lambda: stores.client.call("content.v1.write", again))
    assert await of(lambda: stores.found(deep=True)) == []


async def test_a_directory_is_left_to_whoever_made_it(stores: Stores) -> None:
    for place in (stores.content / "ingest" / "x", stores.blob.parent / "x"):
        await of(place.mkdir)
        [finding] = (await of(lambda: stores.check(repair=True)))["findings"]
        assert (finding["path"], finding.get("repaired")) == (str(place), None)
        assert "by hand" in finding["remedy"]
        await of(place.rmdir)
        assert await of(stores.found) == []


async def test_a_snapshot_whose_directory_is_gone_can_be_removed(
    stores: Stores,
) -> None:
    await of(lambda: (stores.snapshots / "2").rename(stores.content.parent / "away"))
    assert await of(stores.found) == [("missing", NATIVE)]
    gone = {"key": "b", "snapshotter": "native"}
    await of(lambda: stores.client.call("snapshots.v1.remove", {**gone, "sync": True}))
    assert await of(stores.found) == []


async def test_one_store_can_be_checked_alone(stores: Stores) -> None:
    report = await of(lambda: stores.check(stores=["snapshot"]))
    assert report["checked"] == {"snapshots": 3}
    with pytest.raises(InvalidArgument, match="there is content, snapshot"):
        await of(lambda: stores.check(stores=["zfs"]))


async def test_the_command_exits_with_1_and_says_what_to_do(stores: Stores) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pluggd.cli.pluggctl", "-a", stores.address]
        return subprocess.run(
            [*command, "content", "fsck", *words],
            capture_output=True,
            text=True,
            check=False,
        )

    sound = await of(lambda: run("--deep"))
    assert (sound.returncode, sound.stdout) == (0, "")
    assert "nothing is wrong" in sound.stderr
    await of(lambda: STRAYS["a blob"][0](stores))
    wrong = await of(run)
    assert wrong.returncode == 1
    assert wrong.stdout.startswith("stray: content: sha256:aaaa")
    assert "to do: remove it" in wrong.stdout
    assert "1 finding" in wrong.stderr
    shown = await of(lambda: run("--json"))
    assert shown.returncode == 1
    assert json.loads(shown.stdout)["findings"][0]["problem"] == "stray"
    assert (await of(lambda: run("--repair"))).returncode == 0


def busy(address: str, number: int, stop: threading.Event) -> None:
    """Make and remove blobs, ingests and snapshots until told to stop."""
    with Client(address, namespace=f"busy{number % 2}") as client:
        turn = 0
        while not stop.is_set():
            turn += 1
            data = f"{turn % 7} of {number % 2}".encode() * 1000
            write = {"ref": f"r{number}", "data": data[:500], "total": len(data)}
            client.call("content.v1.write", write)
            rest = {**write, "action": "commit", "offset": 500, "data": data[500:]}
            try:
                digest = client.call("content.v1.write", rest)["digest"]
                client.call("content.v1.delete", {"digest": digest})
            except (AlreadyExists, NotFound):
                pass  # the same blob in another thread: it has it, or has deleted it
            client.call("content.v1.write", {"ref": f"s{number}", "data": b"x"})
            client.call("content.v1.abort", {"ref": f"s{number}"})
            key = {"snapshotter": "native", "key": f"k{number}"}
            client.call("snapshots.v1.prepare", {**key, "labels": ROOT})
            name = f"n{number}"
            client.call("snapshots.v1.commit", {**key, "name": name, "labels": ROOT})
            client.call("snapshots.v1.remove", {**key, "key": name})


async def test_a_store_in_use_has_no_findings(stores: Stores) -> None:
    stop = threading.Event()
    checks = 0
    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(
                trio.to_thread.run_sync, busy, stores.address, number, stop
            )
        try:
            for checks in range(40):
                report = await of(partial(stores.check, deep=checks % 2 == 0))
                assert report.get("findings", []) == []
                assert not report.get("failed")
        finally:
            stop.set()
    assert checks == 39
