# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""kill -9 in the middle of snapshots: what was acknowledged is there, and nothing else.

PLUGGD_KILLS says how often (default 8); the same root goes through all of them. After
each start the ledger is compared, and the check of what is stored finds nothing.
"""

from __future__ import annotations

import os
import random
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from pluggd.client.blocking import Client
from pluggd.errors import Unavailable
from pluggd.testing import RunningDaemon, running_daemon

KILLS = int(os.environ.get("PLUGGD_KILLS", "8"))
WORKERS = 3
ROOT = {"containerd.io/gc.root": "1"}
SNAPSHOTTERS = ["native", "overlayfs"] if os.geteuid() == 0 else ["native"]


@dataclass
class Ledger:
    """What one worker was told. known: kind, parent and marker by key; None: gone.
    doubt: the keys of the call that was under way."""

    snapshotter: str
    known: dict[str, tuple[str, str, str] | None] = field(
        default_factory=dict[str, tuple[str, str, str] | None]
    )
    doubt: dict[str, tuple[str, str, str] | None] = field(
        default_factory=dict[str, tuple[str, str, str] | None]
    )
    turns: int = 0

    def there(self, *kinds: str) -> list[str]:
        return [key for key, one in self.known.items() if one and one[0] in kinds]

    def leaves(self) -> list[str]:
        parents = {one[1] for one in self.known.values() if one}
        return [
            key
            for key in self.there("active", "view", "committed")
            if key not in parents
        ]

    def settle(self) -> None:
        self.known.update(self.doubt)
        self.doubt.clear()
        self.turns += 1


def upper(mounts: list[dict[str, Any]]) -> Path:
    """Where what is written to an active snapshot lies."""
    for option in mounts[0]["options"]:
        if option.startswith("upperdir="):
            return Path(option.removeprefix("upperdir="))
    return Path(mounts[0]["source"])


def step(client: Client, ledger: Ledger, chance: random.Random) -> None:
    def call(method: str, **asked: Any) -> dict[str, Any]:
        asked["snapshotter"] = ledger.snapshotter
        return client.call(f"snapshots.v1.{method}", asked)

    key = f"k{chance.getrandbits(48):x}"
    parent = chance.choice(["", *ledger.there("committed")])
    draw = chance.random()
    active, leaves = ledger.there("active"), ledger.leaves()
    if draw < 0.35 or not leaves:
        ledger.doubt = {key: ("active", parent, "")}
        mounts = call("prepare", key=key, parent=parent, labels=ROOT)["mounts"]
        ledger.settle()
        (upper(mounts) / f"mark-{key}").write_text(key)
        ledger.known[key] = ("active", parent, key)
    elif draw < 0.45:
        ledger.doubt = {key: ("view", parent, "")}
        call("view", key=key, parent=parent, labels=ROOT)
        ledger.settle()
    elif draw < 0.75 and active:
        old = chance.choice(active)
        stored = ledger.known[old]
        assert stored is not None
        ledger.doubt = {old: None, key: ("committed", *stored[1:])}
        call("commit", key=old, name=key, labels={**ROOT, "mark": stored[2] or "-"})
        ledger.settle()
    else:
        old = chance.choice(leaves)
        ledger.doubt = {old: None}
        call("remove", key=old)
        ledger.settle()
        if chance.random() < 0.3:
            client.call("gc.v1.run", {"wait": True})


def work(address: str, number: int, ledger: Ledger, seed: int) -> None:
    chance = random.Random(seed * 100 + number)
    try:
        with Client(address, namespace=f"worker{number}") as client:
            while True:
                step(client, ledger, chance)
    except (OSError, Unavailable):
        return  # the connection died, as it should


def verify(address: str, number: int, ledger: Ledger) -> None:
    """Compare with what was acknowledged; take over what was in doubt."""
    with Client(address, namespace=f"worker{number}") as client:
        asked = {"snapshotter": ledger.snapshotter}
        listed = client.call("snapshots.v1.list", asked).get("snapshots", [])
        found = {one["name"]: one for one in listed}
        for key in {*found, *ledger.known, *ledger.doubt}:
            stored = found.get(key)
            allowed = [
                ledger.known.get(key),
                ledger.doubt.get(key, ledger.known.get(key)),
            ]
            seen = stored and (stored["kind"], stored.get("parent", ""))
            assert seen in [one and one[:2] for one in allowed], (key, seen, allowed)
            ledger.known[key] = next(
                one for one in allowed if (one and one[:2]) == seen
            )
            if stored and stored["kind"] != "committed":
                client.call("snapshots.v1.mounts", {**asked, "key": key})
        if ledger.doubt and len(ledger.doubt) == 2:
            old, new = ledger.doubt
            assert (old in found) != (new in found), "a commit that is half done"
        ledger.doubt.clear()
        check_files(client, ledger)


def check_files(client: Client, ledger: Ledger) -> None:
    """The mark of each committed snapshot is what was written before the commit."""
    for key in ledger.there("committed"):
        stored = ledger.known[key]
        assert stored is not None
        asked = {"key": f"see {key}", "parent": key, "snapshotter": ledger.snapshotter}
        mounts = client.call("snapshots.v1.view", {**asked, "labels": ROOT})["mounts"]
        options = mounts[0]["options"]
        lower = [
            o.removeprefix("lowerdir=") for o in options if o.startswith("lowerdir=")
        ]
        nearest = Path(lower[0].split(":")[0] if lower else mounts[0]["source"])
        if stored[2]:
            assert (nearest / f"mark-{stored[2]}").read_text() == stored[2]
        client.call(
            "snapshots.v1.remove", {k: asked[k] for k in ("key", "snapshotter")}
        )


def check_disk(address: str) -> None:
    """The leftovers go in the background; then nothing is wrong, by any measure."""
    with Client(address, namespace="check") as client:
        until = time.monotonic() + 30
        while True:
            for snapshotter in SNAPSHOTTERS:
                client.call("snapshots.v1.cleanup", {"snapshotter": snapshotter})
            report = client.call("fsck.v1.check", {"deep": True})
            assert not report.get("failed")
            if not report.get("findings"):
                return
            assert time.monotonic() < until, report["findings"]


def verify_all(address: str, ledgers: list[Ledger]) -> None:
    for number, ledger in enumerate(ledgers):
        verify(address, number, ledger)
    check_disk(address)


async def load_and_kill(
    daemon: RunningDaemon, ledgers: list[Ledger], seed: int, after: float
) -> None:
    address = str(daemon.address)
    threads = [
        threading.Thread(target=work, args=(address, number, ledger, seed))
        for number, ledger in enumerate(ledgers)
    ]
    for thread in threads:
        thread.start()
    await trio.sleep(after)
    daemon.kill()
    for thread in threads:
        await trio.to_thread.run_sync(partial(thread.join, 30))
        assert not thread.is_alive()


@pytest.mark.slow
async def test_nothing_acknowledged_is_lost_and_nothing_else_stays(
    tmp_path: Path,
) -> None:
    chance = random.Random(11)
    ledgers = [Ledger(SNAPSHOTTERS[n % len(SNAPSHOTTERS)]) for n in range(WORKERS)]
    for round_number in range(KILLS + 1):
        with trio.fail_after(90):
            async with running_daemon(tmp_path, subprocess=True) as daemon:
                address = str(daemon.address)
                await trio.to_thread.run_sync(verify_all, address, ledgers)
                if round_number < KILLS:
                    await load_and_kill(
                        daemon, ledgers, round_number, chance.uniform(0.1, 0.7)
                    )
    turns = sum(ledger.turns for ledger in ledgers)
    assert turns > KILLS
    print(f"{KILLS} kills, {turns} acknowledged changes of snapshots, none lost")
