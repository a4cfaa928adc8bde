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
from tests.crash.metadata_stores import PROVIDERS, state

KILLS = int(os.environ.get("PLUGGD_KILLS", "12"))
LEDGER = Path(__file__).parent / "metadata_ledger.py"
TABLE = "ledger"
NAMESPACE = "crash"


def run_and_kill(
    provider: str, path: Path, front: str, count: int, after: float
) -> list[str]:
    """Let the writer write so many lines, and some time after them; its whole lines.

    A number, because how many come in a given time depends on the disk."""
    process = subprocess.Popen(
        [sys.executable, "-P", str(LEDGER), provider, str(path), front],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    assert process.stdout is not None
    first = b"".join(process.stdout.readline() for _ in range(count))
    killer = threading.Timer(after, process.kill)
    killer.start()
    output = first + process.stdout.read()
    killer.join()
    process.stdout.close()
    assert process.wait() == -9, "it ended by itself"
    return [line.decode() for line in output.split(b"\n")[:-1]]


def check(provider: str, path: Path, acknowledged: set[str]) -> set[str]:
    """What the store holds, after looking for anything lost, torn or unannounced."""
    with state(provider, path, [*TABLES, TABLE]) as kv:
        view = ObjectView(kv, 0)
        records = dict(view.scan(TABLE, NAMESPACE))
        events = list(view.events(0))
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
@pytest.mark.parametrize("provider", PROVIDERS)
def test_kill_9_loses_nothing_that_was_acknowledged(
    provider: str, tmp_path: Path
) -> None:
    chance = random.Random(7)
    acknowledged: set[str] = set()
    held: set[str] = set()
    for number in range(KILLS):
        count, after = chance.randrange(1, 1000), chance.uniform(0, 0.05)
        lines = run_and_kill(provider, tmp_path, str(number), count, after)
        acknowledged.update(lines)
        now = check(provider, tmp_path, acknowledged)
        assert held <= now, "what one start found the next one lacks"
        unacknowledged = now - acknowledged - held
        assert len(unacknowledged) <= 16, "more happened than was asked for at once"
        held = now
    assert len(acknowledged) > 100 * KILLS
    print(
        f"{provider}: {KILLS} kills, {len(acknowledged)} acknowledged updates, none lost"
    )
