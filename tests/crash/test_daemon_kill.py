# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""kill -9 of the whole daemon under load: what was acknowledged is there, the rest is
either there whole or not at all, and the next start needs no help.

PLUGGD_KILLS sets how often it is killed (default 6; the closing claim of a release is
made with 100 or more).
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pluggd.client.blocking import Client
from pluggd.errors import PluggdError, Unavailable

KILLS = int(os.environ.get("PLUGGD_KILLS", "6"))
WORKERS = 4
START_LIMIT = 60.0  # seconds; a start takes well under one, where nothing else runs

pytestmark = pytest.mark.slow

ABSENT = None


@dataclass
class Ledger:
    """What one worker was told. A value is what the object must be; `maybe` holds the
    one change whose answer never came."""

    images: dict[str, str | None] = field(default_factory=dict[str, "str | None"])
    blobs: set[str] = field(default_factory=set[str])
    maybe: dict[str, str | None] = field(default_factory=dict[str, "str | None"])
    maybe_blob: str = ""
    acknowledged: int = 0


class Daemon:
    def __init__(self, directory: Path) -> None:
        self.address = str(directory / "s")
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Start it and wait for the first answer; how long that took, in seconds."""
        begin = time.monotonic()
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "pluggd", "run"),
                    *("--root", str(self._directory / "root")),
                    *("--state", str(self._directory / "state")),
                    *("--address", self.address),
                ],
                stdout=log,
                stderr=log,
            )
        while True:
            try:
                with Client(self.address) as client:
                    client.call("introspection.v1.server", {})
                return time.monotonic() - begin
            except (OSError, PluggdError):
                if time.monotonic() - begin > START_LIMIT:
                    self.kill()
                    raise AssertionError(
                        (self._directory / "log").read_text()
                    ) from None
                time.sleep(0.01)

    def kill(self) -> None:
        """Also when it is gone already, or never was there."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()


def descriptor(digest: str) -> dict[str, Any]:
    return {
        "media_type": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest,
        "size": 1,
    }


def work(address: str, number: int, ledger: Ledger, seed: int) -> None:
    """Change things until the daemon is gone."""
    chance = random.Random(seed)
    space = f"worker-{number}"
    try:
        with Client(address, namespace=space) as client:
            lease = f"lease-{seed}"
            client.call("leases.v1.create", {"id": lease})
            while True:
                step(client, lease, chance, ledger)
    except (OSError, Unavailable):
        return  # the connection died, as it should


def step(client: Client, lease: str, chance: random.Random, ledger: Ledger) -> None:
    ledger.maybe.clear()
    ledger.maybe_blob = ""
    present = [name for name, target in ledger.images.items() if target is not ABSENT]
    draw = chance.random()
    if draw < 0.4 or not present:
        name = f"image-{chance.getrandbits(64):x}"
        change(client, ledger, name, random_digest(chance), "create")
    elif draw < 0.55:
        change(client, ledger, chance.choice(present), random_digest(chance), "update")
    elif draw < 0.65:
        change(client, ledger, chance.choice(present), ABSENT, "delete")
    else:
        data = chance.randbytes(chance.choice([10, 5_000, 70_000]))
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        ledger.maybe_blob = digest
        client.call(
            "content.v1.write",
            {"ref": digest, "action": "commit", "data": data, "expected": digest},
            lease=lease,
        )
        ledger.blobs.add(digest)
        ledger.acknowledged += 1


def change(
    client: Client, ledger: Ledger, name: str, target: str | None, verb: str
) -> None:
    ledger.maybe[name] = target
    if target is None:
        client.call("images.v1.delete", {"name": name})
    else:
        image = {"name": name, "target": descriptor(target)}
        client.call(f"images.v1.{verb}", {"image": image})
    ledger.images[name] = target
    ledger.maybe.clear()
    ledger.acknowledged += 1


def random_digest(chance: random.Random) -> str:
    return f"sha256:{chance.randbytes(32).hex()}"


def verify(address: str, number: int, ledger: Ledger) -> None:
    """Compare what is there with what was acknowledged; take over what is in doubt."""
    with Client(address, namespace=f"worker-{number}") as client:
        listed = client.call("images.v1.list", {})
        stored = {
            image["name"]: image["target"]["digest"]
            for image in listed.get("images", [])
        }
        for name in {*ledger.images, *ledger.maybe, *stored}:
            allowed = {ledger.images.get(name), ledger.maybe.get(name, "-")}
            assert stored.get(name) in allowed, (
                f"{name}: {stored.get(name)} of {allowed}"
            )
            ledger.images[name] = stored.get(name)
        infos = client.call("content.v1.list", {}).get("infos", [])
        there = {info["digest"] for info in infos}
        assert ledger.blobs <= there, f"lost: {ledger.blobs - there}"
        assert there <= ledger.blobs | {ledger.maybe_blob}
        ledger.blobs |= there
        for digest in there:
            data = client.call("content.v1.read", {"digest": digest})["data"]
            assert f"sha256:{hashlib.sha256(data).hexdigest()}" == digest


def verify_events(address: str, ledgers: list[Ledger]) -> None:
    """The log has no holes, and tells the same story as the images."""
    told: dict[tuple[str, str], bool] = {}
    since = 0
    with Client(address) as client:
        while True:
            page = client.call("events.v1.poll", {"since": since, "limit": 1000})
            events = page.get("events", [])
            assert not page.get("gap")
            if not events:
                break
            for event in events:
                assert event["seq"] == since + 1
                since = event["seq"]
                if event["topic"].startswith("/images/"):
                    key = (event["namespace"], event["event"]["value"]["name"])
                    told[key] = event["topic"] != "/images/delete"
    for number, ledger in enumerate(ledgers):
        for name, target in ledger.images.items():
            key = (f"worker-{number}", name)
            assert told.get(key, False) == (target is not ABSENT)


def run_worker(address: str, ledgers: list[Ledger], seed: int, number: int) -> None:
    work(address, number, ledgers[number], seed + number)


def in_threads(count: int, function: Callable[[int], None]) -> list[threading.Thread]:
    threads = [threading.Thread(target=function, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    return threads


@pytest.fixture
def daemon(tmp_path: Path) -> Generator[Daemon]:
    daemon = Daemon(tmp_path)
    yield daemon
    daemon.kill()


def test_nothing_acknowledged_is_lost_when_the_daemon_is_killed(daemon: Daemon) -> None:
    ledgers = [Ledger() for _ in range(WORKERS)]
    chance = random.Random(4711)
    starts: list[float] = []
    for round_number in range(KILLS):
        starts.append(daemon.start())
        for number, ledger in enumerate(ledgers):
            verify(daemon.address, number, ledger)
        threads = in_threads(
            WORKERS,
            partial(run_worker, daemon.address, ledgers, round_number * 100),
        )
        time.sleep(chance.uniform(0.05, 0.6))
        daemon.kill()
        for thread in threads:
            thread.join(timeout=30)
            assert not thread.is_alive()
    starts.append(daemon.start())
    for number, ledger in enumerate(ledgers):
        verify(daemon.address, number, ledger)
    verify_events(daemon.address, ledgers)
    acknowledged = sum(ledger.acknowledged for ledger in ledgers)
    assert acknowledged > KILLS
    print(
        f"{KILLS} kills, {acknowledged} acknowledged changes, none lost; "
        f"slowest start {max(starts):.2f} s"
    )
