# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Follows one task: its exits are recorded in order, its shim is missed when it dies.

The first process's exit is the last event of a task before its deletion; and no exit is
recorded before the start that it belongs to, because both hold the task's lock.
"""

from __future__ import annotations

import logging
import math
import os
import time
from contextlib import suppress

import trio

from pluggd.errors import PluggdError
from pluggd.model.events import TaskExit
from pluggd.model.record import replace
from pluggd.services.tasks import STOPPED
from pluggd.shim import frames

from .bundle import exec_id_of
from .link import Exited
from .oom import OomWatch
from .table import Table
from .task import Running

UNKNOWN_STATUS = 255
LAST = 2.0
"""Seconds in which further processes end after the first has, before their turn is over."""

Log = logging.LoggerAdapter[logging.Logger]


class Follower:
    """exits: recorded since the start. lost: shims that went before their processes."""

    def __init__(self, table: Table, log: Log) -> None:
        self.exits = 0
        self.lost = 0
        self._table = table
        self._log = log

    async def follow(self, task: Running) -> None:
        """Until the task's shim is gone and every exit is recorded. Never raises."""
        assert task.link is not None
        send, receive = trio.open_memory_channel[Exited](math.inf)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._record_exits, task, receive)
                watch = OomWatch(task, self._table, self._log)
                nursery.start_soon(watch.run)
                async with send:
                    await task.link.run(send.send_nowait)
                watch.stop()
            await self.account(task)
            await gone(task.link.pid)
        except Exception:  # noqa: BLE001 - of one task; the others go on
            self._log.exception("following task %s/%s", task.namespace, task.id)
        finally:
            task.followed.set()

    async def _record_exits(
        self, task: Running, exits: trio.MemoryReceiveChannel[Exited]
    ) -> None:
        async for exit_ in exits:
            if exit_.key == frames.INIT and task.live_execs():
                if not task.record.own_pids:
                    await self._kill_rest(task)
                with trio.move_on_after(LAST):
                    while task.live_execs():
                        await self.record(task, await exits.receive())
            await self.record(task, exit_)

    async def _kill_rest(self, task: Running) -> None:
        """Without a pid namespace of its own, what it started does not end with it."""
        with suppress(PluggdError):
            await task.runtime.run(task.namespace, "kill", "--all", task.id, "KILL")

    async def record(self, task: Running, exit_: Exited, error: str = "") -> None:
        """Record how a process ended, once, with its event; then wake who waits."""
        async with task.lock:
            process = task.find(exit_.key)
            if process is None or process.status == STOPPED:
                return
            ended = replace(
                process,
                status=STOPPED,
                pid=exit_.pid or process.pid,
                exit_status=exit_.status,
                exited_at=exit_.at,
                error=error,
            )
            event = TaskExit(
                container_id=task.id,
                id=exec_id_of(exit_.key) or task.id,
                pid=ended.pid,
                exit_status=exit_.status,
                exited_at=exit_.at,
            )
            record = task.with_process(exit_.key, ended)
            await self._table.write(task.namespace, record, event)
            task.record = record
            task.ended[exit_.key].set()
            self.exits += 1

    async def account(self, task: Running) -> None:
        """The shim is gone. What it wrote to disk counts; the rest nobody will know."""
        keys = [*task.live_execs(), frames.INIT]
        for key in keys:
            process = task.process(key)
            if process.status == STOPPED or not process.pid:
                continue
            exit_ = await trio.to_thread.run_sync(task.bundle.exit_of, key)
            if exit_ is not None:
                await self.record(task, exit_)
                continue
            if key == frames.INIT:
                self.lost += 1
                await self._clear_away(task)
            await self.record(
                task,
                Exited(key, process.pid, UNKNOWN_STATUS, time.time_ns()),
                f"the shim of task {task.id} ended before this process (was it killed?),"
                " and with it the knowledge of how the process ended; what was left of"
                " the container was killed",
            )

    async def _clear_away(self, task: Running) -> None:
        """Nobody holds its streams, and nobody would reap it: it must not run on."""
        self._log.warning(
            "task %s/%s lost its shim: killing it %s",
            task.namespace,
            task.id,
            await trio.to_thread.run_sync(task.bundle.shim_log),
        )
        try:
            await task.runtime.run(task.namespace, "delete", "--force", task.id)
        except PluggdError as error:
            self._log.warning("%s", error)


async def gone(pid: int) -> None:
    """Wait until a shim has left, and reap it where it is our child: in a container of
    its own the daemon may be process 1, to which orphans come."""
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return
    try:
        with trio.move_on_after(5):
            await trio.lowlevel.wait_readable(fd)
        with suppress(OSError):
            os.waitpid(pid, os.WNOHANG)  # noqa: ASYNC222 - it does not wait
    finally:
        os.close(fd)
