# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A task in memory: its record, its processes, and who waits for them.

The record is what a restart will know; it is replaced only after it was written.
"""

from __future__ import annotations

import trio

from pluggd.errors import NotFound
from pluggd.model.record import replace
from pluggd.services.tasks import STOPPED, Exit, Process, Task
from pluggd.shim import frames

from .bundle import Bundle, exec_id_of
from .link import Link
from .runtime import Runtime
from .table import TaskRecord


class Running:
    """A task. lock: held by whoever changes its state, but not by kill.

    ended: of each process, by key; set when its exit is recorded.
    created: set when its first process has a pid, or never will.
    followed: set when nothing more will come from its shim, and all is recorded.
    """

    def __init__(
        self, namespace: str, record: TaskRecord, bundle: Bundle, runtime: Runtime
    ) -> None:
        self.namespace = namespace
        self.record = record
        self.bundle = bundle
        self.runtime = runtime
        self.link: Link | None = None
        self.lock = trio.Lock()
        self.ended: dict[str, trio.Event] = {frames.INIT: trio.Event()}
        self.created = trio.Event()
        self.followed = trio.Event()
        self.oom_kills = 0
        for exec_id in record.execs:
            self.ended[frames.EXEC + exec_id] = trio.Event()

    @property
    def id(self) -> str:
        return self.record.id

    def find(self, key: str) -> Process | None:
        if key == frames.INIT:
            return self.record.process
        return self.record.execs.get(exec_id_of(key))

    def process(self, key: str) -> Process:
        """Raises NotFound."""
        found = self.find(key)
        if found is None:
            raise NotFound(f"process does not exist {exec_id_of(key)}: not found")
        return found

    def with_process(self, key: str, process: Process) -> TaskRecord:
        """The record with one process replaced or added."""
        if key == frames.INIT:
            return replace(self.record, process=process)
        execs = {**self.record.execs, exec_id_of(key): process}
        return replace(self.record, execs=dict(sorted(execs.items())))

    def without(self, key: str) -> TaskRecord:
        execs = dict(self.record.execs)
        execs.pop(exec_id_of(key), None)
        return replace(self.record, execs=execs)

    def live_execs(self) -> list[str]:
        """Keys of further processes that run."""
        return [
            frames.EXEC + exec_id
            for exec_id, one in self.record.execs.items()
            if one.pid and one.status != STOPPED
        ]

    def public(self) -> Task:
        return Task(
            id=self.id,
            runtime=self.runtime.program,
            bundle=str(self.bundle.path),
            process=self.record.process,
            execs=list(self.record.execs.values()),
        )


def exit_record(process: Process) -> Exit:
    """How a process ended, for whoever waited."""
    return Exit(
        container_id=process.container_id,
        exec_id=process.exec_id,
        pid=process.pid,
        exit_status=process.exit_status,
        exited_at=process.exited_at,
        error=process.error,
    )
