# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Containers: metadata that pins what a task needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pluggd.model.record import Record
from pluggd.model.types import Any, Time
from pluggd.services.kind import Kind
from pluggd.services.rpc import rpc


class Runtime(Record, frozen=True):
    """The runtime that starts it, and options that only the runtime knows."""

    name: str = ""
    options: Any | None = None


class Container(Record, frozen=True):
    """A container as a record; nothing runs by creating one.

    `image` is a name and is not checked. `snapshotter` and `snapshot_key` pin a
    snapshot. `spec` is opaque here (an OCI runtime specification).
    """

    id: str = ""
    labels: dict[str, str] = {}
    image: str = ""
    runtime: Runtime = Runtime()
    spec: Any | None = None
    snapshotter: str = ""
    snapshot_key: str = ""
    extensions: dict[str, Any] = {}
    created_at: Time = 0
    updated_at: Time = 0


class ContainerList(Record, frozen=True):
    """A page of containers. `next`: the `after` of the next page, "" on the last."""

    containers: list[Container] = []
    next: str = ""


class Containers(Protocol):
    """Every container is a root of collection and keeps its snapshot."""

    @rpc(result="container")
    async def create(self, *, container: Container) -> Container:
        """Create a container record; nothing runs by it.

        Raises InvalidArgument (id, runtime, spec, labels, snapshotter), AlreadyExists.
        """
        ...

    @rpc(result="container")
    async def get(self, *, id: str) -> Container:
        """One container record. Raises NotFound."""
        ...

    @rpc()
    async def list(
        self, *, filters: Sequence[str] = (), limit: int = 0, after: str = ""
    ) -> ContainerList:
        """List container records. Filters: `id`, `runtime.name`, `image`, `labels.<key>`."""
        ...

    @rpc(result="container")
    async def update(
        self, *, container: Container, fields: Sequence[str] = ()
    ) -> Container:
        """Replace what is named in `fields`, or all that can change.

        Fields: `labels[.<key>]`, `spec`, `extensions[.<key>]`, `image`, `snapshot_key`.

        id, runtime and snapshotter cannot change. Raises NotFound, InvalidArgument.
        """
        ...

    @rpc()
    async def delete(self, *, id: str) -> None:
        """Delete the record; its snapshot is not kept by it any more. Raises NotFound."""
        ...


CONTAINERS = Kind("pluggd.containers.v1", Containers)
