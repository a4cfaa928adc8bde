# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the daemon does when a signal comes.

SIGTERM and SIGINT stop it, a second one hurries it. SIGUSR1 writes what everything
waits for to the log. SIGHUP reads the configuration again.

The handler is our own and not `trio.open_signal_receiver`, because that needs a loop
which runs: when a plugin blocks it, a second request to stop ends the process.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

import trio

from pluggd.core.daemon import Daemon
from pluggd.core.exits import EXIT_STUCK
from pluggd.errors import PluggdError

STOP = (signal.SIGTERM, signal.SIGINT)
UNHEARD = 2.0
"""Seconds after which a signal that the loop did not take counts as not heard."""


@contextmanager
def handled(
    daemon: Daemon, nursery: trio.Nursery, *, at_the_end: bool = False
) -> Generator[None]:
    """Handle signals for one daemon; only in the main thread, inside trio.

    at_the_end: whether the process ends with the block. Then a request to stop that
    comes later is ignored: it must not turn a clean end into death by a signal.
    """
    token = trio.lowlevel.current_trio_token()
    asked = 0
    unheard_since: float | None = None

    def in_loop(number: int) -> None:
        nonlocal asked, unheard_since
        name = signal.Signals(number).name
        if number in STOP:
            unheard_since = None
            asked += 1
            if asked == 1:
                daemon.stop(name)
            else:
                daemon.hurry()
        elif number == signal.SIGUSR1:
            from pluggd.core.diagnose import dump

            nursery.start_soon(dump, daemon, name="dump on SIGUSR1")
        else:
            nursery.start_soon(_reload, daemon, name="reload on SIGHUP")

    def handler(number: int, frame: FrameType | None) -> None:
        nonlocal unheard_since
        if number in STOP:
            now = time.monotonic()
            if unheard_since is not None and now - unheard_since > UNHEARD:
                sys.stderr.write("pluggd: a plugin blocks the daemon: giving up\n")
                sys.stderr.flush()
                os._exit(EXIT_STUCK)
            if unheard_since is None:
                unheard_since = now
        token.run_sync_soon(in_loop, number)

    before = {
        number: signal.signal(number, handler)
        for number in (*STOP, signal.SIGUSR1, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, previous in before.items():
            last = at_the_end and number in STOP
            signal.signal(number, signal.SIG_IGN if last else previous)


async def _reload(daemon: Daemon) -> None:
    try:
        await daemon.face.reload()
    except PluggdError as error:
        for line in error.message.splitlines():
            daemon.log.error("configuration not reloaded", extra={"reason": line})
