# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tasks in the metadata store: what a daemon that starts again knows of them.

A record is there before anything is made of it, and goes when nothing is left, so no
crash leaves a process that nobody knows. Events are in the transaction of the change.
"""

from __future__ import annotations

from collections.abc import Callable

from pluggd.errors import AlreadyExists
from pluggd.model.events import Event
from pluggd.model.record import Record, decode, encode
from pluggd.model.types import Mount
from pluggd.services.metadata import (
    FOREVER,
    SNAPSHOT,
    Edge,
    Metadata,
    Node,
    ResourceType,
    Transaction,
    View,
)
from pluggd.services.tasks import Process

TABLE = "tasks"
TASK = "task"


class TaskRecord(Record, frozen=True):
    """A task as it is stored. making: its creation has not come to its end.
    runtime: the name of the program. snapshotter, snapshot_key: what it runs on.
    execs: further processes by their ids. own_pids: it has a pid namespace."""

    id: str = ""
    runtime: str = ""
    making: bool = False
    rootfs: list[Mount] = []
    snapshotter: str = ""
    snapshot_key: str = ""
    own_pids: bool = True
    process: Process = Process()
    execs: dict[str, Process] = {}


class Table:
    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata

    async def open(self) -> Callable[[], None]:
        """Returns what undoes it."""
        await self._metadata.open_table(TABLE)
        return self._metadata.register(ResourceType(TASK, "tasks"))

    async def add(self, namespace: str, record: TaskRecord) -> None:
        """Raises AlreadyExists."""

        def change(txn: Transaction) -> None:
            if txn.get(TABLE, namespace, record.id) is not None:
                raise AlreadyExists(f"task {record.id}: already exists")
            txn.put(TABLE, namespace, record.id, encode(record))
            edges: list[Edge] = []
            if record.snapshot_key:
                # Also when the container's record goes before its task.
                kind = SNAPSHOT + record.snapshotter
                edges.append(Edge(Node(kind, namespace, record.snapshot_key)))
            txn.set_node(Node(TASK, namespace, record.id), edges, root_until=FOREVER)

        await self._metadata.update(change)

    async def write(self, namespace: str, record: TaskRecord, *events: Event) -> None:
        def change(txn: Transaction) -> None:
            txn.put(TABLE, namespace, record.id, encode(record))
            for event in events:
                txn.emit(namespace, event.TOPIC, event.TYPE, event)

        await self._metadata.update(change)

    async def remove(self, namespace: str, id: str, *events: Event) -> None:
        def change(txn: Transaction) -> None:
            txn.delete(TABLE, namespace, id)
            txn.drop_node(Node(TASK, namespace, id))
            for event in events:
                txn.emit(namespace, event.TOPIC, event.TYPE, event)

        await self._metadata.update(change, reclaim=True)

    async def emit(self, namespace: str, event: Event) -> None:
        await self._metadata.update(
            lambda txn: txn.emit(namespace, event.TOPIC, event.TYPE, event)
        )

    def all(self) -> list[tuple[str, TaskRecord]]:
        """Every record with its namespace."""

        def scan(view: View) -> list[tuple[str, TaskRecord]]:
            return [
                (namespace, decode(record, TaskRecord))
                for namespace in view.scan_namespaces(TABLE)
                for _, record in view.scan(TABLE, namespace)
            ]

        return self._metadata.read(scan)
