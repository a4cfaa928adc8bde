# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""When a busy loop has to let threads run (docs/decisions/0002).

A loop that computes without ever really sleeping starves them to a few wake-ups a
second: what it gives up the interpreter for between two rounds is less than a
microsecond. So while threads have work it sleeps now and then; but not when it has just
slept by itself, for each such sleep takes some 60 us, and a loop with little to do
has them anyway.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import trio

EVERY = 200e-6
"""Seconds that threads with work may have to wait for the interpreter."""

REST = 50e-6
"""Seconds of waiting for events that count as a sleep: a thread is awake by then."""


class GiveWay(trio.abc.Instrument):
    """Call it before what may take long; it knows by trio when the loop last slept.

    busy: whether threads have work to do.
    """

    def __init__(self, busy: Callable[[], bool]) -> None:
        self.busy = busy
        self._began = 0.0
        self._slept = 0.0

    def before_io_wait(self, timeout: float) -> None:
        del timeout
        self._began = time.perf_counter()

    def after_io_wait(self, timeout: float) -> None:
        del timeout
        now = time.perf_counter()
        if now - self._began > REST:
            self._slept = now

    def __call__(self) -> None:
        if self.busy() and time.perf_counter() - self._slept > EVERY:
            time.sleep(1e-6)
            self._slept = time.perf_counter()
