# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the daemon does when a signal comes.

SIGTERM and SIGINT stop it, a second one hurries it. SIGUSR1 writes what everything
waits for to the log. SIGHUP reads the configuration again.

The handler is our own and not `trio.open_signal_receiver`, because that needs a loop
which runs. When a plugin blocks it, `deadman` ends the process: soon after a second
request to stop, and after the first one when all deadlines of a stop are over.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from types import FrameType

import trio

from pluggd.core.daemon import Daemon
from pluggd.core.deadman import Deadman
from pluggd.core.status import Status
from pluggd.errors import PluggdError

STOP = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def handled(
    daemon: Daemon, nursery: trio.Nursery, *, at_the_end: bool = False
) -> Generator[None]:
    """Handle signals for one daemon; only in the main thread, inside trio.

    at_the_end: whether the process ends with the block. Then a request to stop that
    comes later is ignored: it must not turn a clean end into death by a signal.
    """
    token = trio.lowlevel.current_trio_token()
    came = asked = 0

    def ask(function: Callable[[], object]) -> None:
        with suppress(trio.RunFinishedError):  # then nobody waits for an answer
            token.run_sync_soon(function)

    deadman = Deadman(ask, lambda: _at_work(daemon))

    def in_loop(number: int) -> None:
        nonlocal asked
        name = signal.Signals(number).name
        if number in STOP:
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
        nonlocal came
        if number in STOP:
            came += 1
            settings = daemon.configuration.settings
            patience = settings.rpc.grace + settings.shutdown_deadline
            deadman.within(patience if came == 1 else 0)
        token.run_sync_soon(in_loop, number)

    before = {
        number: signal.signal(number, handler)
        for number in (*STOP, signal.SIGUSR1, signal.SIGHUP)
    }
    try:
        yield
    finally:
        deadman.close()
        for number, previous in before.items():
            last = at_the_end and number in STOP
            signal.signal(number, signal.SIG_IGN if last else previous)


def _at_work(daemon: Daemon) -> str:
    """Who is starting or stopping just now, which is who may block."""
    busy = (Status.STARTING, Status.STOPPING)
    return ", ".join(row.uri for row in daemon.table.rows if row.status in busy)


async def _reload(daemon: Daemon) -> None:
    try:
        await daemon.face.reload()
    except PluggdError as error:
        for line in error.message.splitlines():
            daemon.log.error("configuration not reloaded", extra={"reason": line})
