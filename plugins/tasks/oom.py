# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tells when the kernel killed a process of a task for want of memory.

Version 1 signals an eventfd, version 2 makes its file of counters ready with a priority
event; either way the counter is looked at, and an event is for its growth.
"""

from __future__ import annotations

import logging
import os
import select
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import trio

from pluggd.errors import PluggdError
from pluggd.model.events import TaskOOM

from .cgroups import Cgroup, cgroup_of
from .table import Table
from .task import Running

Log = logging.LoggerAdapter[logging.Logger]


class OomWatch:
    """stop: the task is over, look once more."""

    def __init__(self, task: Running, table: Table, log: Log) -> None:
        self._log = log
        self._task = task
        self._table = table
        self._scope = trio.CancelScope()

    def stop(self) -> None:
        self._scope.cancel()

    async def run(self) -> None:
        """Until `stop`. Never raises: nothing else of a task depends on it."""
        try:
            await self._watch()
        except (PluggdError, OSError) as error:
            self._log.warning("watching the memory of %s: %s", self._task.id, error)

    async def _watch(self) -> None:
        group: Cgroup | None = None
        with self._scope:
            await self._task.created.wait()
            group = cgroup_of(self._task.record.process.pid)
            if group is None or group.oom_file is None:
                return
            self._task.oom_kills = group.oom_kills()
            with notifying(group, group.oom_file) as fd:
                while True:
                    await trio.lowlevel.wait_readable(fd)
                    if group.version == 1:
                        os.read(fd, 8)
                    await self._look(group)
        if group is not None:
            await self._look(group)

    async def _look(self, group: Cgroup) -> None:
        kills = group.oom_kills()
        if kills > self._task.oom_kills:
            self._task.oom_kills = kills
            event = TaskOOM(container_id=self._task.id)
            # `stop` comes when the process is dead, which is just now: it must not take
            # back what is noted as told.
            with trio.CancelScope(shield=True):
                await self._table.emit(self._task.namespace, event)


@contextmanager
def notifying(group: Cgroup, path: Path) -> Generator[int]:
    """A descriptor that becomes readable when the file changes. Raises OSError."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if group.version == 1:
            fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            try:
                control = path.with_name("cgroup.event_control")
                control.write_text(f"{fd} {file}")
                yield fd
            finally:
                os.close(fd)
        else:
            with select.epoll() as poll:
                poll.register(file, select.EPOLLPRI | select.EPOLLET)
                yield poll.fileno()
    finally:
        os.close(file)
