# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""kill -9 in the middle of writing: nothing acknowledged is lost, nothing is torn.

PLUGGD_KILLS says how often (default 12); the same store goes through all of them.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pluggd.model.record import decode
from pluggd.objects.tables import TABLES
from pluggd.objects.transaction import ObjectView
from pluggd.services.envelope import Envelope
from plugins.metadata.environment import Environment

KILLS = int(os.environ.get("PLUGGD_KILLS", "12"))
HERE = Path(__file__).parent
TABLE = "ledger"
NAMESPACE = "crash"


def run_and_kill(path: Path, front: str, after: float) -> list[str]:
    """Let the writer write for some time after its first line; its whole lines."""
    process = subprocess.Popen(
        [sys.executable, "-P", str(HERE / "metadata_ledger.py"), str(path), front],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    killer = threading.Timer(after, process.kill)
    killer.start()
    output = first + process.stdout.read()
    killer.join()
    process.stdout.close()
    assert process.wait() == -9, "it ended by itself"
    return [line.decode() for line in output.split(b"\n")[:-1]]


def check(path: Path, acknowledged: set[str]) -> set[str]:
    """What the store holds, after looking for anything lost, torn or unannounced."""
    environment = Environment(path, 1 << 40)
    environment.prepare([*TABLES, TABLE])
    txn = environment.begin_read()
    try:
        view = ObjectView(environment.reader(txn), 0)
        records = dict(view.scan(TABLE, NAMESPACE))
        events = list(view.events(0))
    finally:
        txn.abort()
        environment.close()
    assert acknowledged - records.keys() == set(), "acknowledged and lost"
    for name, record in records.items():
        assert record == name.encode() * 20, f"{name} is torn"
        assert int(name.rpartition("-")[2]) % 5 != 4, f"{name} was rolled back"
    envelopes = [decode(data, Envelope) for _, data in events]
    assert [seq for seq, _ in events] == list(range(1, len(events) + 1))
    announced = [envelope.event.value for envelope in envelopes]
    assert len(announced) == len(records)
    assert set(announced) == records.keys(), "events and records disagree"
    return set(records)


@pytest.mark.slow
def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    chance = random.Random(7)
    acknowledged: set[str] = set()
    held: set[str] = set()
    for number in range(KILLS):
        lines = run_and_kill(tmp_path, str(number), chance.uniform(0, 0.5))
        acknowledged.update(lines)
        now = check(tmp_path, acknowledged)
        assert held <= now, "what one start found the next one lacks"
        unacknowledged = now - acknowledged - held
        assert len(unacknowledged) <= 16, "more happened than was asked for at once"
        held = now
    assert len(acknowledged) > 100 * KILLS
    print(f"{KILLS} kills, {len(acknowledged)} acknowledged updates, none lost")
