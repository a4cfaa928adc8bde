# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The payloads of the daemon's own events, importable without any service.

Each class knows its topic and type name. The names of topics and fields are
containerd's, so that filters written for it work here.
"""

from __future__ import annotations

from typing import ClassVar

from pluggd.model.record import Record
from pluggd.model.types import Any, Mount


class Event(Record, frozen=True):
    """Base: an event belongs to one topic and has one type name."""

    TOPIC: ClassVar[str] = ""
    TYPE: ClassVar[str] = ""


class ImageCreate(Event, frozen=True):
    TOPIC: ClassVar[str] = "/images/create"
    TYPE: ClassVar[str] = "containerd.services.images.v1.ImageCreate"

    name: str
    labels: dict[str, str] = {}


class ImageUpdate(Event, frozen=True):
    TOPIC: ClassVar[str] = "/images/update"
    TYPE: ClassVar[str] = "containerd.services.images.v1.ImageUpdate"

    name: str
    labels: dict[str, str] = {}


class ImageDelete(Event, frozen=True):
    TOPIC: ClassVar[str] = "/images/delete"
    TYPE: ClassVar[str] = "containerd.services.images.v1.ImageDelete"

    name: str


class ContainerRuntime(Record, frozen=True):
    name: str = ""
    options: Any | None = None


class ContainerCreate(Event, frozen=True):
    TOPIC: ClassVar[str] = "/containers/create"
    TYPE: ClassVar[str] = "containerd.events.ContainerCreate"

    id: str
    image: str = ""
    runtime: ContainerRuntime = ContainerRuntime()


class ContainerUpdate(Event, frozen=True):
    TOPIC: ClassVar[str] = "/containers/update"
    TYPE: ClassVar[str] = "containerd.events.ContainerUpdate"

    id: str
    image: str = ""
    labels: dict[str, str] = {}
    snapshot_key: str = ""


class ContainerDelete(Event, frozen=True):
    TOPIC: ClassVar[str] = "/containers/delete"
    TYPE: ClassVar[str] = "containerd.events.ContainerDelete"

    id: str


class NamespaceCreate(Event, frozen=True):
    TOPIC: ClassVar[str] = "/namespaces/create"
    TYPE: ClassVar[str] = "containerd.events.NamespaceCreate"

    name: str
    labels: dict[str, str] = {}


class NamespaceUpdate(Event, frozen=True):
    TOPIC: ClassVar[str] = "/namespaces/update"
    TYPE: ClassVar[str] = "containerd.events.NamespaceUpdate"

    name: str
    labels: dict[str, str] = {}


class NamespaceDelete(Event, frozen=True):
    TOPIC: ClassVar[str] = "/namespaces/delete"
    TYPE: ClassVar[str] = "containerd.events.NamespaceDelete"

    name: str


class ContentCreate(Event, frozen=True):
    TOPIC: ClassVar[str] = "/content/create"
    TYPE: ClassVar[str] = "containerd.events.ContentCreate"

    digest: str
    size: int = 0


class ContentDelete(Event, frozen=True):
    TOPIC: ClassVar[str] = "/content/delete"
    TYPE: ClassVar[str] = "containerd.events.ContentDelete"

    digest: str


class SnapshotPrepare(Event, frozen=True):
    TOPIC: ClassVar[str] = "/snapshot/prepare"
    TYPE: ClassVar[str] = "containerd.events.SnapshotPrepare"

    key: str
    parent: str = ""
    snapshotter: str = ""


class SnapshotCommit(Event, frozen=True):
    TOPIC: ClassVar[str] = "/snapshot/commit"
    TYPE: ClassVar[str] = "containerd.events.SnapshotCommit"

    key: str
    name: str = ""
    snapshotter: str = ""


class SnapshotRemove(Event, frozen=True):
    TOPIC: ClassVar[str] = "/snapshot/remove"
    TYPE: ClassVar[str] = "containerd.events.SnapshotRemove"

    key: str
    snapshotter: str = ""


class TaskIO(Record, frozen=True):
    stdin: str = ""
    stdout: str = ""
    stderr: str = ""
    terminal: bool = False


class TaskCreate(Event, frozen=True):
    TOPIC: ClassVar[str] = "/tasks/create"
    TYPE: ClassVar[str] = "containerd.events.TaskCreate"

    container_id: str
    bundle: str = ""
    rootfs: list[Mount] = []
    io: TaskIO = TaskIO()
    pid: int = 0


class TaskStart(Event, frozen=True):
    TOPIC: ClassVar[str] = "/tasks/start"
    TYPE: ClassVar[str] = "containerd.events.TaskStart"

    container_id: str
    pid: int = 0


class TaskExecAdded(Event, frozen=True):
    TOPIC: ClassVar[str] = "/tasks/exec-added"
    TYPE: ClassVar[str] = "containerd.events.TaskExecAdded"

    container_id: str
    exec_id: str = ""


class TaskExecStarted(Event, frozen=True):
    TOPIC: ClassVar[str] = "/tasks/exec-started"
    TYPE: ClassVar[str] = "containerd.events.TaskExecStarted"

    container_id: str
    exec_id: str = ""
    pid: int = 0


class TaskExit(Event, frozen=True):
    """id: of the exec, or of the task for its first process. exited_at: ns."""

    TOPIC: ClassVar[str] = "/tasks/exit"
    TYPE: ClassVar[str] = "containerd.events.TaskExit"

    container_id: str
    id: str = ""
    pid: int = 0
    exit_status: int = 0
    exited_at: int = 0


class TaskDelete(Event, frozen=True):
    TOPIC: ClassVar[str] = "/tasks/delete"
    TYPE: ClassVar[str] = "containerd.events.TaskDelete"

    container_id: str
    pid: int = 0
    exit_status: int = 0
    exited_at: int = 0


class TaskOOM(Event, frozen=True):
    TOPIC: ClassVar[str] = "/tasks/oom"
    TYPE: ClassVar[str] = "containerd.events.TaskOOM"

    container_id: str


class TaskPaused(Event, frozen=True):
    TOPIC: ClassVar[str] = "/tasks/paused"
    TYPE: ClassVar[str] = "containerd.events.TaskPaused"

    container_id: str


class TaskResumed(Event, frozen=True):
    TOPIC: ClassVar[str] = "/tasks/resumed"
    TYPE: ClassVar[str] = "containerd.events.TaskResumed"

    container_id: str
