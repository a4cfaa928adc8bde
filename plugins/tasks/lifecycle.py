# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How a task comes to be and goes: directories, mounts, shim, runtime, record.

The record is written first and removed last, and every step back works on half of what
the steps there made; so whatever dies in between, the next start of the daemon, or the
next deletion, finds the rest.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any as Anything

import trio

from pluggd.errors import FailedPrecondition, PluggdError, Unavailable
from pluggd.model.events import TaskCreate, TaskDelete, TaskIO
from pluggd.model.record import replace
from pluggd.model.types import Any, Mount
from pluggd.services.tasks import CREATED, STOPPED, Exit, Process, Stdio
from pluggd.shim import frames

from .config import Config
from .following import Log
from .link import Link, SpawnFailed, connect, launch
from .runtime import failed, last_error
from .specs import (
    as_map,
    exec_process,
    has_own_pids,
    resolve_user,
    root_path,
    set_terminal,
)
from .table import Table, TaskRecord
from .task import Running, exit_record

LEAVING = 15.0
"""Seconds in which a shim must end when its last process has, or when it is told to: output
is taken for two seconds, who listens is told for five, a runtime is given ten."""


class Lifecycle:
    """begin: follow a task whose link is set."""

    def __init__(
        self, table: Table, config: Config, log: Log, begin: Callable[[Running], None]
    ) -> None:
        self._table = table
        self._config = config
        self._log = log
        self._begin = begin

    async def create(
        self,
        task: Running,
        spec: dict[str, Anything],
        rootfs: Sequence[Mount],
        io: Stdio,
    ) -> None:
        """Raises what goes wrong, and then nothing of the task is left."""
        await self._table.add(task.namespace, task.record)
        try:
            await self._make(task, spec, rootfs, io)
        except BaseException:
            with trio.CancelScope(shield=True):
                task.created.set()
                await self.clear(task)
                await self._table.remove(task.namespace, task.id)
            raise

    async def _make(
        self,
        task: Running,
        spec: dict[str, Anything],
        rootfs: Sequence[Mount],
        io: Stdio,
    ) -> None:
        def prepare() -> None:
            task.bundle.make()
            if rootfs:
                task.bundle.mount(rootfs)
                spec["root"] = {**(spec.get("root") or {}), "path": "rootfs"}
            set_terminal(spec["process"], io)
            resolve_user(spec["process"], root_path(spec, task.bundle.path))
            task.bundle.write_spec(spec)

        await trio.to_thread.run_sync(prepare)
        config = self._config
        await launch(
            task.bundle.path, task.bundle.logs, config.log_size, config.log_files
        )
        await self.attach_link(task)
        pid = await self.spawn(task, frames.INIT, io, "create", "--bundle", ".")
        record = replace(
            task.record,
            making=False,
            own_pids=has_own_pids(spec),
            process=Process(
                container_id=task.id,
                pid=pid,
                status=CREATED,
                io=io,
                created_at=time.time_ns(),
            ),
        )
        event = TaskCreate(
            container_id=task.id,
            bundle=str(task.bundle.path),
            rootfs=list(rootfs),
            io=TaskIO(
                stdin=io.stdin, stdout=io.stdout, stderr=io.stderr, terminal=io.terminal
            ),
            pid=pid,
        )
        await self._table.write(task.namespace, record, event)
        task.record = record
        task.created.set()

    async def attach_link(self, task: Running) -> None:
        """Connect to its shim and follow it. Raises OSError when there is none."""
        task.link = Link(await connect(task.bundle.path))
        self._begin(task)

    async def spawn(self, task: Running, key: str, io: Stdio, *command: str) -> int:
        """Have the shim run a command of the runtime that leaves a process; its pid.

        Raises FailedPrecondition with what the runtime said, Unavailable.
        """
        assert task.link is not None
        options = ["--pid-file", f"{key}.pid"]
        if io.terminal:
            options += ["--console-socket", f"{key}.sock"]
        log = f"runtime-{key}.log"
        arguments = task.runtime.command(
            task.namespace, *command, *options, task.id, log=log
        )
        streams = (io.stdin, io.stdout, io.stderr)
        if io.terminal:
            streams = ("", "", "")
        what = f"{task.runtime.name} {command[0]}"
        try:
            with trio.move_on_after(self._config.runtime_timeout):
                pid = await task.link.spawn(key, io.terminal, streams, arguments)
                if io.terminal and io.width and io.height:
                    size = (str(io.width), str(io.height))
                    await task.link.tell(frames.RESIZE, key, *size)
                return pid
        except SpawnFailed as error:
            said = await trio.to_thread.run_sync(task.bundle.runtime_log, key)
            if not last_error(said):
                said = error.text.encode()
            raise failed(what, error.code, said) from None
        raise Unavailable(
            f"{what} did not end within {self._config.runtime_timeout:g} seconds"
            " (runtime_timeout): unavailable"
        )

    async def delete(self, task: Running) -> Exit:
        """Remove a task that has stopped."""
        await self.clear(task)
        process = task.record.process
        event = TaskDelete(
            container_id=task.id,
            pid=process.pid,
            exit_status=process.exit_status,
            exited_at=process.exited_at,
        )
        await self._table.remove(task.namespace, task.id, event)
        return exit_record(process)

    async def drop(self, task: Running) -> None:
        """Remove what was never finished: no event tells of it."""
        await self.clear(task)
        await self._table.remove(task.namespace, task.id)

    async def clear(self, task: Running) -> None:
        """Leave nothing of it but its record. Raises what cannot be removed."""
        if task.link is not None and task.record.making:
            # First of all: the runtime may be at work, and what it makes after we have
            # removed the container would be left.
            await self._stop_shim(task)
        try:
            await task.runtime.run(task.namespace, "delete", "--force", task.id)
        except FailedPrecondition as error:
            if await task.runtime.status(task.namespace, task.id):
                raise
            self._log.debug("%s", error)  # it never came to be, or is gone already
        if task.link is not None:
            if task.record.process.status != STOPPED:
                await self._stop_shim(task)
            with trio.move_on_after(LEAVING) as waiting:
                await task.followed.wait()
            if waiting.cancelled_caught:
                await self._stop_shim(task)
                await task.followed.wait()
        await trio.to_thread.run_sync(task.bundle.remove)
        task.runtime.forget_namespace(task.namespace)

    async def _stop_shim(self, task: Running) -> None:
        assert task.link is not None
        try:
            await task.link.tell(frames.STOP)
        except PluggdError:
            return  # it is gone
        with trio.move_on_after(LEAVING):
            await task.link.lost.wait()
            return
        os.kill(task.link.pid, 9)  # it does not listen; its pid is held by its socket


def write_exec(task: Running, key: str, spec: Any, io: Stdio) -> None:
    """Write the process of an exec, for its start. Blocks.

    Raises InvalidArgument, NotFound (the user).
    """
    first = task.bundle.read_spec()
    process = exec_process(spec.value, as_map(first.get("process")))
    set_terminal(process, io)
    resolve_user(process, root_path(first, task.bundle.path))
    task.bundle.forget(key)
    task.bundle.write_process(key, process)


def new_record(
    id: str, runtime: str, rootfs: Sequence[Mount], snapshotter: str, key: str
) -> TaskRecord:
    """The record with which a creation begins."""
    return TaskRecord(
        id=id,
        runtime=runtime,
        making=True,
        rootfs=list(rootfs),
        snapshotter=snapshotter,
        snapshot_key=key,
        process=Process(container_id=id, status=CREATED),
    )
