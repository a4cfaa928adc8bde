# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Finds the tasks again that an earlier daemon left, as they are now.

A task whose exit was recorded needs nothing. One whose shim answers is followed on. One
whose shim is gone ended in between: its exit is in its bundle, or nobody knows it.
"""

from __future__ import annotations

import trio

from pluggd.errors import PluggdError
from pluggd.model.events import TaskExecStarted, TaskStart
from pluggd.model.record import replace
from pluggd.services.tasks import CREATED, PAUSED, RUNNING, STOPPED
from pluggd.shim import frames

from .bundle import exec_id_of
from .creating import Creator
from .following import Follower, Log
from .lifecycle import Lifecycle
from .link import Exited
from .runtime import Runtime
from .table import Table, TaskRecord
from .task import Running


class Adopter:
    def __init__(
        self,
        table: Table,
        lifecycle: Lifecycle,
        follower: Follower,
        creator: Creator,
        log: Log,
    ) -> None:
        self._table = table
        self._lifecycle = lifecycle
        self._follower = follower
        self._creator = creator
        self._log = log

    def known(
        self, namespace: str, record: TaskRecord, runtimes: dict[str, Runtime]
    ) -> Running:
        """A task as its record has it; of a runtime that was removed, with another's
        name, so that it can at least be looked at and deleted."""
        runtime = runtimes.get(record.runtime) or next(iter(runtimes.values()))
        if runtime.name != record.runtime:
            self._log.warning(
                "task %s/%s runs under %s, which is not here",
                namespace,
                record.id,
                record.runtime,
            )
        bundle = self._creator.bundle(namespace, record.id)
        task = Running(namespace, record, bundle, runtime)
        if record.process.status == STOPPED:
            task.ended[frames.INIT].set()
        for exec_id, process in record.execs.items():
            if process.status == STOPPED:
                task.ended[frames.EXEC + exec_id].set()
        if not record.making:
            task.created.set()
        return task

    async def adopt(self, task: Running) -> bool:
        """Whether it is still a task. Never raises."""
        try:
            return await self._adopt(task)
        except (PluggdError, OSError) as error:
            self._log.warning("adopting task %s/%s: %s", task.namespace, task.id, error)
            return True

    async def _adopt(self, task: Running) -> bool:
        stopped = task.record.process.status == STOPPED
        try:
            await self._lifecycle.attach_link(task)
        except OSError:
            task.followed.set()
            if task.record.making:
                await self._lifecycle.drop(task)
                return False
            if not stopped or task.live_execs():
                await self._follower.account(task)
            return True
        if task.record.making:
            await self._lifecycle.drop(task)
            return False
        assert task.link is not None
        exits: list[Exited] = []
        for key, (pid, exit_) in (await task.link.states()).items():
            await self._was_started(task, key, pid)
            if exit_ is not None:
                exits.append(exit_)
        # The first process's exit comes last.
        for exit_ in sorted(exits, key=lambda one: (one.key == frames.INIT, one.at)):
            await self._follower.record(task, exit_)
        return True

    async def _was_started(self, task: Running, key: str, pid: int) -> None:
        """Make up for a start that the daemon did not live to record."""
        async with task.lock:
            process = task.find(key)
            if process is None or process.status == STOPPED:
                return
            status = process.status
            if key == frames.INIT:
                found = await task.runtime.status(task.namespace, task.id)
                if found in (RUNNING, PAUSED):
                    status = found
            elif process.status == CREATED:
                status = RUNNING
            if status == process.status:
                return
            events: list[TaskStart | TaskExecStarted] = []
            if process.status == CREATED:
                exec_id = exec_id_of(key)
                events.append(
                    TaskExecStarted(container_id=task.id, exec_id=exec_id, pid=pid)
                    if exec_id
                    else TaskStart(container_id=task.id, pid=pid)
                )
            changed = replace(process, status=status, pid=pid)
            record = task.with_process(key, changed)
            await self._table.write(task.namespace, record, *events)
            task.record = record

    async def adopt_all(self, tasks: dict[tuple[str, str], Running]) -> None:
        """Some at a time: each may ask its runtime."""
        limit = trio.CapacityLimiter(8)

        async def one(key: tuple[str, str], task: Running) -> None:
            async with limit:
                if not await self.adopt(task):
                    del tasks[key]

        async with trio.open_nursery() as nursery:
            for key, task in list(tasks.items()):
                nursery.start_soon(one, key, task)
