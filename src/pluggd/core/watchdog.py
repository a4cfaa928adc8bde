# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Notices when a plugin blocks the thread in which everything runs.

No deadline of trio can fire then, and the daemon would look dead without a word. A
thread of its own waits instead, and says in the log who was at work, and where.
"""

from __future__ import annotations

import math
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager


class Watchdog:
    """One thread, started when first needed; it dies with the process."""

    def __init__(self, report: Callable[[str, str], None]) -> None:
        """report: called in the watchdog's thread with the name of the work and the
        stack of the blocked thread."""
        self._report = report
        self._condition = threading.Condition()
        self._work: dict[object, tuple[float, str, int]] = {}
        self._looks_at = math.inf
        self._thread: threading.Thread | None = None
        self._closed = False

    @contextmanager
    def watch(self, name: str, seconds: float) -> Generator[None]:
        """Report when the block is not left in time; real seconds, not trio's."""
        key = object()
        when = time.monotonic() + seconds
        with self._condition:
            self._work[key] = (when, name, threading.get_ident())
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="pluggd-watchdog", daemon=True
                )
                self._thread.start()
            # Not each time: a thread that wakes wants the interpreter.
            if when < self._looks_at:
                self._condition.notify()
        try:
            yield
        finally:
            with self._condition:
                self._work.pop(key, None)

    def working_on(self) -> list[str]:
        """The names of what is being watched just now."""
        return [name for _, name, _ in list(self._work.values())]

    def close(self) -> None:
        with self._condition:
            self._closed = True
            self._condition.notify()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        with self._condition:
            while not self._closed:
                now = time.monotonic()
                for key, (when, name, thread) in list(self._work.items()):
                    if when <= now:
                        del self._work[key]
                        self._report(name, _stack(thread))
                self._looks_at = nearest = min(
                    (when for when, _, _ in self._work.values()), default=math.inf
                )
                self._condition.wait(None if nearest == math.inf else nearest - now)


def _stack(thread: int) -> str:
    frame = sys._current_frames().get(thread)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - the only way to see it
    return "".join(traceback.format_stack(frame)) if frame else ""
