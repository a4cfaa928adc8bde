# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Ends a process that was told to stop and whose loop does not run any more.

While a plugin blocks the thread in which everything runs, no deadline of trio fires
and no signal is heard: a stop would have no bound. A thread of its own asks the loop for
an answer when the time is over, and ends the process when none comes.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Callable

from pluggd.core.exits import EXIT_STUCK

ANSWER = 2.0
"""Seconds in which a loop that runs answers."""


class Deadman:
    """One thread, started when a bound is set; it dies with the process."""

    def __init__(
        self, ask: Callable[[Callable[[], object]], object], blamed: Callable[[], str]
    ) -> None:
        """ask: have the loop call a function, from any thread. blamed: who seems to
        block it, or ""; called in the thread."""
        self._ask = ask
        self._blamed = blamed
        self._condition = threading.Condition(threading.RLock())
        self._when = math.inf
        self._thread: threading.Thread | None = None
        self._closed = False

    def within(self, seconds: float) -> None:
        """From then on the loop has to answer. The earliest of several bounds holds.

        Called in a signal handler: another call may be in the middle of this one.
        """
        with self._condition:
            self._when = min(self._when, time.monotonic() + seconds)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="pluggd-deadman", daemon=True
                )
                self._thread.start()
            self._condition.notify()

    def close(self) -> None:
        with self._condition:
            self._closed = True
            self._condition.notify()

    def _run(self) -> None:
        while self._sleep():
            answered = threading.Event()
            self._ask(answered.set)
            if not answered.wait(ANSWER) and not self._closed:
                self._give_up()

    def _sleep(self) -> bool:
        """Until the bound, and between two questions after it; False when closed."""
        with self._condition:
            while not self._closed:
                left = self._when - time.monotonic()
                if left <= 0:
                    self._when = time.monotonic() + ANSWER
                    return True
                self._condition.wait(left)
            return False

    def _give_up(self) -> None:
        who = self._blamed()
        sys.stderr.write(
            f"pluggd: a plugin blocks the daemon{f' ({who})' if who else ''}: giving up\n"
        )
        sys.stderr.flush()
        os._exit(EXIT_STUCK)
