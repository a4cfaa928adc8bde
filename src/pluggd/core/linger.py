# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Looking out for the next request for a moment before the loop sleeps.

A client that waits for each answer sends its next request some tens of microseconds
after it. A loop that has gone to sleep by then is woken for it, which on a virtual
machine, whose processor rests meanwhile, costs more than most requests. So, with nothing
else to do, the loop looks out for `MOMENT` first; Go's scheduler does the same before it parks a
thread. Where that is in vain it is soon left alone, so an idle daemon and one with
few requests pay nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import trio

MOMENT = 50e-6
"""Seconds to look out for. Clients here came back within 20 to 40 us (docs/performance.md)."""

PATIENCE = 6
"""After n times in vain the next 2 ** n sleeps come without: up to n = PATIENCE."""


class Linger(trio.abc.Instrument):
    """ready: whether there are requests. busy: whether threads have work to do; they
    would wait for the interpreter."""

    def __init__(self, ready: Callable[[], object], busy: Callable[[], bool]) -> None:
        self._ready = ready
        self._busy = busy
        self._in_vain = 0
        self._skip = 0

    def before_io_wait(self, timeout: float) -> None:
        if timeout <= 0:
            return  # Something else is to be done.
        if self._skip:
            self._skip -= 1
            return
        if self._busy():
            return
        end = perf_counter() + min(timeout, MOMENT)
        while perf_counter() < end:
            if self._ready():
                self._in_vain = 0
                return
        self._in_vain = min(self._in_vain + 1, PATIENCE)
        self._skip = 1 << self._in_vain
