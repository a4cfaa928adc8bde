# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What does not end in its time is told, whatever else is watched."""

from __future__ import annotations

from queue import SimpleQueue

import pytest

from pluggd.core.watchdog import Watchdog

LONG = 3600.0
SHORT = 0.001


@pytest.mark.parametrize("before", [[], [LONG], [LONG, 2 * LONG]])
def test_a_deadline_before_all_others_is_kept(before: list[float]) -> None:
    told: SimpleQueue[str] = SimpleQueue()
    dog = Watchdog(lambda name, stack: told.put(name))
    try:
        for seconds in before:
            dog.watch("patient", seconds).__enter__()
        # The second time the thread waits for what is patient, or for nothing.
        for name in ("first", "second"):
            with dog.watch(name, SHORT):
                assert told.get(timeout=10) == name
    finally:
        dog.close()
