# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tasks: what runs. A container is a record; its task is the processes made from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pluggd.model.record import Record
from pluggd.model.types import Any, Mount, Time
from pluggd.services.kind import Kind
from pluggd.services.rpc import Receive, Send, rpc

CREATED = "created"
RUNNING = "running"
PAUSED = "paused"
STOPPED = "stopped"


class Stdio(Record, frozen=True):
    """Where a process's streams come from and go to.

    stdin: "" for nothing, `stream` for what is sent with `attach` or `write`, or the
        absolute path of a file or fifo.
    stdout, stderr: "" for the task's log, which `attach`, `logs` and `read` show;
        `null`; or the absolute path of a file (appended to) or fifo.
    terminal: give it one of width x height; the streams must then be "" and stdin may
        be `stream`, and all output is of the stream `stdout`.
    """

    stdin: str = ""
    stdout: str = ""
    stderr: str = ""
    terminal: bool = False
    width: int = 0
    height: int = 0


class Process(Record, frozen=True):
    """A process of a task. exec_id: "" for the first one, whose end is the task's.

    status: `created`, `running`, `paused` or `stopped`. pid: in the daemon's pid
    namespace; 0 for one that was never started.
    exit_status: 128 + n when signal n ended it. 255 with an `error` when nobody can
    know. exited_at: ns, 0 while it has not.
    """

    container_id: str = ""
    exec_id: str = ""
    pid: int = 0
    status: str = ""
    io: Stdio = Stdio()
    exit_status: int = 0
    exited_at: Time = 0
    error: str = ""
    created_at: Time = 0


class Exit(Record, frozen=True):
    """How a process ended; as in Process."""

    container_id: str = ""
    exec_id: str = ""
    pid: int = 0
    exit_status: int = 0
    exited_at: Time = 0
    error: str = ""


class Task(Record, frozen=True):
    """A task. runtime: the program that runs it. bundle: its directory.
    execs: further processes, by their ids in order."""

    id: str = ""
    runtime: str = ""
    bundle: str = ""
    process: Process = Process()
    execs: list[Process] = []


class TaskList(Record, frozen=True):
    """A page of tasks. `next`: the `after` of the next page, "" on the last."""

    tasks: list[Task] = []
    next: str = ""


class PidInfo(Record, frozen=True):
    """A process of the container. exec_id: of what was started here; others are their
    children. command: its arguments, joined by spaces."""

    pid: int = 0
    exec_id: str = ""
    init: bool = False
    command: str = ""


class PidList(Record, frozen=True):
    processes: list[PidInfo] = []


class Stats(Record, frozen=True):
    """What a task uses now, from its control groups. Bytes; times in ns.

    Limits are 0 where there is none; a figure that the kernel does not offer is 0.
    cgroup_version: 1 or 2. oom_kills: processes killed for want of memory.
    """

    id: str = ""
    timestamp: Time = 0
    cgroup_version: int = 0
    memory: int = 0
    memory_limit: int = 0
    memory_peak: int = 0
    cpu: int = 0
    cpu_user: int = 0
    cpu_system: int = 0
    throttled: int = 0
    pids: int = 0
    pids_limit: int = 0
    read_bytes: int = 0
    written_bytes: int = 0
    oom_kills: int = 0


class StatsList(Record, frozen=True):
    stats: list[Stats] = []


class Resources(Record, frozen=True):
    """Limits to change; 0 leaves one as it is. memory, swap in bytes (-1: none),
    cpu_quota and cpu_period in microseconds, pids a number (-1: none)."""

    memory: int = 0
    memory_swap: int = 0
    cpu_shares: int = 0
    cpu_quota: int = 0
    cpu_period: int = 0
    cpuset_cpus: str = ""
    pids: int = 0


class Input(Record, frozen=True):
    """One item to an attached process: bytes for stdin, the end of stdin, or the new
    size of its terminal."""

    data: bytes = b""
    close: bool = False
    width: int = 0
    height: int = 0


class Output(Record, frozen=True):
    """One piece of output, as the process wrote it.

    stream: `stdout` or `stderr`. time: ns, when it was read. position: where the log
    goes on behind it; what `attach`, `logs` and `read` resume from.
    lost: bytes of the log, not all of them output, that were dropped before this piece
    because the reader was too slow or the disk full.
    """

    data: bytes = b""
    stream: str = ""
    time: Time = 0
    position: int = 0
    lost: int = 0


class Outputs(Record, frozen=True):
    """A piece of a log. next: the position to go on from. done: nothing follows."""

    items: list[Output] = []
    next: int = 0
    done: bool = False


class Tasks(Protocol):
    """Runs containers through an OCI runtime. A task lives on when the daemon does not.

    `id` is the container's; `exec_id` names one of the processes that `exec` added, ""
    the first. All raise NotFound for what is not there. Events, in the order of a
    task's life: `/tasks/create`, `start`, `exec-added`, `exec-started`, `paused`,
    `resumed`, `oom`, `exit` (for each process; the first one's is the last), `delete`.
    """

    @rpc(result="task")
    async def create(
        self, *, id: str, rootfs: Sequence[Mount] = (), io: Stdio | None = None
    ) -> Task:
        """Make the container's first process, ready to start.

        rootfs: mounts of the root filesystem, from the lowest; without, those of the
        container's snapshot, or else `root.path` of its specification. A user that the
        specification names (`process.user.username`: `name`, `uid`, `name:group`)
        is looked up in the root filesystem.
        Raises AlreadyExists, InvalidArgument, FailedPrecondition with what the runtime
        said.
        """
        ...

    @rpc(result="process")
    async def start(self, *, id: str, exec_id: str = "") -> Process:
        """Start a process that was created. Raises FailedPrecondition."""
        ...

    @rpc(result="process")
    async def exec(
        self, *, id: str, exec_id: str, spec: Any, io: Stdio | None = None
    ) -> Process:
        """Add a process to a running task; `start` starts it.

        spec: an OCI runtime specification's `process`; what it leaves out (user, cwd,
        env, capabilities) is as for the first one.
        Raises InvalidArgument, AlreadyExists, FailedPrecondition.
        """
        ...

    @rpc(result="task")
    async def get(self, *, id: str) -> Task:
        """One task, as it is now. Raises NotFound."""
        ...

    @rpc()
    async def list(self, *, limit: int = 0, after: str = "") -> TaskList:
        """The tasks of the namespace."""
        ...

    @rpc()
    async def kill(
        self, *, id: str, exec_id: str = "", signal: int = 15, all: bool = False
    ) -> None:
        """Send a signal. all: to every process of the container.

        Raises NotFound (`process already finished`), FailedPrecondition, InvalidArgument.
        """
        ...

    @rpc(result="exit", waits=True)
    async def wait(self, *, id: str, exec_id: str = "") -> Exit:
        """Wait until a process has ended; at once for one that has."""
        ...

    @rpc(result="exit")
    async def delete(self, *, id: str, exec_id: str = "", force: bool = False) -> Exit:
        """Remove a stopped process and its log; for the first one all of the task.

        force: kill it first. Raises FailedPrecondition for a running one.
        """
        ...

    @rpc()
    async def pause(self, *, id: str) -> None:
        """Freeze all processes. Raises FailedPrecondition."""
        ...

    @rpc()
    async def resume(self, *, id: str) -> None:
        """Go on after a pause. Raises NotFound, FailedPrecondition."""
        ...

    @rpc()
    async def pids(self, *, id: str) -> PidList:
        """The processes in the container."""
        ...

    @rpc()
    async def stats(self, *, ids: Sequence[str] = ()) -> StatsList:
        """What running tasks use; all of the namespace without ids. Those that have
        ended are left out."""
        ...

    @rpc()
    async def update(self, *, id: str, resources: Resources) -> None:
        """Change the limits of a task. Raises FailedPrecondition, InvalidArgument."""
        ...

    @rpc()
    async def resize(
        self, *, id: str, exec_id: str = "", width: int, height: int
    ) -> None:
        """Tell a terminal its size; nothing for a process without one."""
        ...

    @rpc()
    async def close_stdin(self, *, id: str, exec_id: str = "") -> None:
        """Let a process read the end of its stdin once what was sent is read."""
        ...

    @rpc()
    async def write(self, *, id: str, exec_id: str = "", data: bytes) -> None:
        """Send bytes to stdin: `attach` for clients without streams."""
        ...

    @rpc(result="exit", waits=True)
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
        """Send and receive the streams of a process until it has ended and all is sent.

        since: the position to begin at, 0 for all that the log still has, -1 for what
        comes. lossless: hold the process up rather than lose output when this caller
        is slow; it goes on when the caller leaves. Several may be attached. The end of
        `source` closes nothing: `close` of an item does.
        """
        ...

    @rpc(waits=True)
    async def logs(
        self,
        *,
        id: str,
        exec_id: str = "",
        since: int = 0,
        follow: bool = False,
        out: Send[Output],
    ) -> None:
        """Send what a process wrote, from a position on; with follow until it has ended."""
        ...

    @rpc(waits=True)
    async def read(
        self, *, id: str, exec_id: str = "", since: int = 0, wait: float = 0.0
    ) -> Outputs:
        """A piece of the log from a position on: `logs` for clients without streams.

        wait: seconds to wait for output when there is none.
        """
        ...


TASKS = Kind("pluggd.tasks.v1", Tasks)
