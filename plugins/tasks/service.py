# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The task service: each method finds its task and says what it may not do now.

What takes more than that is done by `lifecycle`, `following` and `streams`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import trio

from pluggd.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PluggdError,
)
from pluggd.model.events import (
    TaskExecAdded,
    TaskExecStarted,
    TaskPaused,
    TaskResumed,
    TaskStart,
)
from pluggd.model.identifiers import validate_identifier
from pluggd.model.record import encode_json, replace
from pluggd.model.types import Any, Mount
from pluggd.objects.pages import check_limit
from pluggd.plugin import inline
from pluggd.services import call
from pluggd.services.rpc import Receive, Send
from pluggd.services.tasks import (
    CREATED,
    PAUSED,
    RUNNING,
    STOPPED,
    Exit,
    Input,
    Output,
    Outputs,
    PidList,
    Process,
    Resources,
    StatsList,
    Stdio,
    Task,
    TaskList,
)
from pluggd.shim import frames

from . import streams, usage
from .bundle import key_of
from .creating import Creator
from .lifecycle import Lifecycle, write_exec
from .link import ShimGone
from .specs import check_io
from .table import Table
from .task import Running, exit_record

SIGKILL = 9
LARGEST_SIGNAL = 64

Tasks = dict[tuple[str, str], Running]


class TaskService:
    def __init__(
        self, tasks: Tasks, table: Table, lifecycle: Lifecycle, creator: Creator
    ) -> None:
        self._tasks = tasks
        self._table = table
        self._lifecycle = lifecycle
        self._creator = creator

    # --- tasks

    async def create(
        self, *, id: str, rootfs: Sequence[Mount] = (), io: Stdio | None = None
    ) -> Task:
        namespace = call.namespace()
        io = io or Stdio()
        check_io(io)
        return (await self._creator.create(namespace, id, rootfs, io)).public()

    async def start(self, *, id: str, exec_id: str = "") -> Process:
        task, key = await self._find(id, exec_id)
        async with task.lock:
            process = task.process(key)
            if process.status != CREATED:
                was = "stopped" if process.status == STOPPED else "running"
                raise FailedPrecondition(
                    f"cannot start a {was} process: failed precondition"
                )
            if key == frames.INIT:
                await task.runtime.run(task.namespace, "start", task.id)
                event = TaskStart(container_id=id, pid=process.pid)
                return await self._started(task, key, process.pid, event)
            if task.record.process.status != RUNNING:
                raise FailedPrecondition(
                    "cannot exec in a"
                    f" {task.record.process.status} state: failed precondition"
                )
            pid = await self._lifecycle.spawn(
                task,
                key,
                process.io,
                *("exec", "--detach", "--process", f"process-{key}.json"),
            )
            added = TaskExecStarted(container_id=id, exec_id=exec_id, pid=pid)
            return await self._started(task, key, pid, added)

    async def _started(
        self, task: Running, key: str, pid: int, event: TaskStart | TaskExecStarted
    ) -> Process:
        process = replace(task.process(key), status=RUNNING, pid=pid)
        record = task.with_process(key, process)
        await self._table.write(task.namespace, record, event)
        task.record = record
        return process

    async def exec(
        self, *, id: str, exec_id: str, spec: Any, io: Stdio | None = None
    ) -> Process:
        task, _ = await self._find(id)
        if not exec_id:
            raise InvalidArgument("exec id cannot be empty: invalid argument")
        validate_identifier(exec_id)
        io = io or Stdio()
        check_io(io)
        async with task.lock:
            key = key_of(exec_id)
            if task.find(key) is not None:
                raise AlreadyExists(f"id {exec_id}: already exists")
            if task.record.process.status not in (RUNNING, CREATED):
                raise FailedPrecondition(
                    f"cannot exec in a {task.record.process.status} state:"
                    " failed precondition"
                )

            await trio.to_thread.run_sync(write_exec, task, key, spec, io)
            process = Process(
                container_id=id,
                exec_id=exec_id,
                status=CREATED,
                io=io,
                created_at=time.time_ns(),
            )
            record = task.with_process(key, process)
            event = TaskExecAdded(container_id=id, exec_id=exec_id)
            await self._table.write(task.namespace, record, event)
            task.record = record
            task.ended[key] = trio.Event()
            return process

    async def get(self, *, id: str) -> Task:
        task, _ = await self._find(id)
        return task.public()

    @inline
    def list(self, *, limit: int = 0, after: str = "") -> TaskList:
        namespace = call.namespace()
        check_limit(limit)
        ids = sorted(
            name
            for space, name in self._tasks
            if space == namespace and name.encode() > after.encode()
        )
        more = bool(limit) and len(ids) > limit
        ids = ids[:limit] if limit else ids
        return TaskList(
            tasks=[self._tasks[namespace, name].public() for name in ids],
            next=ids[-1] if more else "",
        )

    async def kill(
        self, *, id: str, exec_id: str = "", signal: int = 15, all: bool = False
    ) -> None:
        task, key = await self._find(id, exec_id)
        if not 0 <= signal <= LARGEST_SIGNAL:
            raise InvalidArgument(
                f"signal {signal}: must be 0 to {LARGEST_SIGNAL}: invalid argument"
            )
        process = task.process(key)
        finished = NotFound("process already finished: not found")
        if process.status == STOPPED or task.link is None:
            raise finished
        if all:
            await task.runtime.run(
                task.namespace, "kill", "--all", task.id, str(signal)
            )
        else:
            try:
                answer = await task.link.kill(key, signal)
            except ShimGone:
                # That it ended, and how, is just being recorded.
                await task.followed.wait()
                if task.process(key).status == STOPPED:
                    raise finished from None
                raise
            if answer == "finished":
                raise finished
            if answer:
                raise FailedPrecondition(
                    f"process {exec_id or id} was not started: failed precondition"
                )
        if signal == SIGKILL and task.record.process.status == PAUSED:
            # In a frozen group of version 1 nothing dies before it thaws.
            await self.resume(id=id)

    async def wait(self, *, id: str, exec_id: str = "") -> Exit:
        task, key = await self._find(id, exec_id)
        task.process(key)
        ended = task.ended[key]
        await ended.wait()
        return exit_record(task.process(key))

    async def delete(self, *, id: str, exec_id: str = "", force: bool = False) -> Exit:
        task, key = await self._find(id, exec_id)
        process = task.process(key)
        if process.status != STOPPED and (process.pid or key == frames.INIT):
            if not force:
                what = "process" if exec_id else "task"
                raise FailedPrecondition(
                    f"{what} must be stopped before deletion: {process.status}; kill"
                    " it, or delete with force: failed precondition"
                )
            await self._end(task, key)
        async with task.lock:
            if exec_id:
                return await self._delete_exec(task, key)
            if self._tasks.get((task.namespace, id)) is not task:
                raise NotFound(f"task {id} not found")
            done = await self._lifecycle.delete(task)
            del self._tasks[task.namespace, id]
            return done

    async def _end(self, task: Running, key: str) -> None:
        """Kill, and wait until that is known."""
        try:
            exec_id = task.process(key).exec_id
            await self.kill(id=task.id, exec_id=exec_id, signal=SIGKILL)
        except NotFound:
            pass  # it was faster
        await task.ended[key].wait()

    async def _delete_exec(self, task: Running, key: str) -> Exit:
        process = task.process(key)
        record = task.without(key)
        await self._table.write(task.namespace, record)
        task.record = record
        del task.ended[key]
        try:
            if task.link is not None:
                await task.link.tell(frames.FORGET, key)
        except PluggdError:
            pass  # its shim is gone with it
        await trio.to_thread.run_sync(task.bundle.forget, key)
        return exit_record(process)

    # --- the whole container

    async def pause(self, *, id: str) -> None:
        task, _ = await self._find(id)
        async with task.lock:
            status = task.record.process.status
            if status != RUNNING:
                text = (
                    "cannot pause a paused container"
                    if status == PAUSED
                    else f"cannot pause task in {status} state"
                )
                raise FailedPrecondition(f"{text}: failed precondition")
            await task.runtime.run(task.namespace, "pause", id)
            await self._set_status(task, PAUSED, TaskPaused(container_id=id))

    async def resume(self, *, id: str) -> None:
        task, _ = await self._find(id)
        async with task.lock:
            status = task.record.process.status
            if status != PAUSED:
                raise FailedPrecondition(
                    f"cannot resume a {status} process: failed precondition"
                )
            await task.runtime.run(task.namespace, "resume", id)
            await self._set_status(task, RUNNING, TaskResumed(container_id=id))

    async def _set_status(
        self, task: Running, status: str, event: TaskPaused | TaskResumed
    ) -> None:
        process = replace(task.record.process, status=status)
        record = replace(task.record, process=process)
        await self._table.write(task.namespace, record, event)
        task.record = record

    async def pids(self, *, id: str) -> PidList:
        task, _ = await self._find(id)
        init = task.record.process
        if init.status == STOPPED:
            return PidList()
        return await trio.to_thread.run_sync(usage.pids_of, task)

    async def stats(self, *, ids: Sequence[str] = ()) -> StatsList:
        namespace = call.namespace()
        tasks = [(await self._find(name))[0] for name in ids] or [
            self._tasks[key] for key in sorted(self._tasks) if key[0] == namespace
        ]

        return await trio.to_thread.run_sync(usage.stats_of, tasks)

    async def update(self, *, id: str, resources: Resources) -> None:
        task, _ = await self._find(id)
        given = usage.limits_of(resources)
        async with task.lock:
            await task.runtime.run(
                task.namespace, "update", "-r", "-", id, stdin=encode_json(given)
            )

    # --- streams

    async def resize(
        self, *, id: str, exec_id: str = "", width: int, height: int
    ) -> None:
        task, key = await self._find(id, exec_id)
        if not (0 < width < 1 << 16 and 0 < height < 1 << 16):
            raise InvalidArgument(
                f"a terminal cannot be {width} x {height}: invalid argument"
            )
        if task.process(key).status != STOPPED and task.link is not None:
            await task.link.tell(frames.RESIZE, key, str(width), str(height))

    async def close_stdin(self, *, id: str, exec_id: str = "") -> None:
        task, key = await self._find(id, exec_id)
        if task.process(key).status != STOPPED and task.link is not None:
            await task.link.tell(frames.CLOSE, key)

    async def write(self, *, id: str, exec_id: str = "", data: bytes) -> None:
        task, key = await self._find(id, exec_id)
        process = task.process(key)
        if process.status == STOPPED or not await streams.write(task, key, data):
            raise NotFound("process already finished: not found")

    async def attach(
        self,
        *,
        id: str,
        exec_id: str = "",
        since: int = -1,
        lossless: bool = False,
        source: Receive[Input],
        out: Send[Output],
    ) -> Exit:
        task, key = await self._find(id, exec_id)
        task.process(key)
        ended = task.ended[key]
        await streams.attach(task, key, since, lossless, source, out)
        await ended.wait()
        return exit_record(task.process(key))

    async def logs(
        self,
        *,
        id: str,
        exec_id: str = "",
        since: int = 0,
        follow: bool = False,
        out: Send[Output],
    ) -> None:
        task, key = await self._find(id, exec_id)
        task.process(key)
        await streams.logs(task, key, since, follow, out)

    async def read(
        self, *, id: str, exec_id: str = "", since: int = 0, wait: float = 0.0
    ) -> Outputs:
        task, key = await self._find(id, exec_id)
        task.process(key)
        return await streams.read(task, key, since, wait)

    async def _find(self, id: str, exec_id: str = "") -> tuple[Running, str]:
        """Raises NotFound, for the container where there is not even that."""
        namespace = call.namespace()
        task = self._tasks.get((namespace, id))
        if task is None or task.record.making:
            await self._creator.container(id)
            raise NotFound(f"task {id} not found: not found")
        return task, key_of(exec_id)
