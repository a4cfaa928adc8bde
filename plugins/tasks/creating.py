# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""From a container to its task: which runtime, which root filesystem, whether at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pluggd.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
)
from pluggd.model.types import Mount
from pluggd.services.containers import Container, Containers
from pluggd.services.snapshots import Snapshots
from pluggd.services.tasks import Stdio

from .bundle import Bundle
from .lifecycle import Lifecycle, new_record
from .runtime import Runtime
from .specs import as_map, spec_of
from .task import Running

DEFAULT = ("", "io.containerd.runc.v2", "io.containerd.runc.v1", "default")
"""Names that ask for whatever runs containers here. The second is containerd's."""


class Creator:
    """tasks: all there are, by namespace and id. runtimes: by name, the default first."""

    def __init__(
        self,
        tasks: dict[tuple[str, str], Running],
        containers: Containers,
        snapshots: Snapshots | None,
        runtimes: Mapping[str, Runtime],
        lifecycle: Lifecycle,
        directories: tuple[Path, Path],
    ) -> None:
        self._tasks = tasks
        self._containers = containers
        self._snapshots = snapshots
        self._runtimes = runtimes
        self._lifecycle = lifecycle
        self._directories = directories

    async def container(self, id: str) -> Container:
        """Raises NotFound."""
        return await self._containers.get(id=id)

    def bundle(self, namespace: str, id: str) -> Bundle:
        return Bundle(*self._directories, namespace, id)

    async def create(
        self, namespace: str, id: str, rootfs: Sequence[Mount], io: Stdio
    ) -> Running:
        """Raises NotFound, AlreadyExists, InvalidArgument, FailedPrecondition."""
        container = await self._containers.get(id=id)
        spec = spec_of(container)
        runtime = self.runtime_of(container)
        if not rootfs and container.snapshot_key:
            rootfs = await self._mounts(container)
        if not rootfs and not str(as_map(spec.get("root")).get("path", "")).startswith(
            "/"
        ):
            raise InvalidArgument(
                f'container "{id}" has no root filesystem: give it a snapshot_key, or'
                " root.path in its spec, or rootfs to this call: invalid argument"
            )
        if (namespace, id) in self._tasks:
            raise AlreadyExists(f"task {id}: already exists")
        record = new_record(
            id, runtime.name, rootfs, container.snapshotter, container.snapshot_key
        )
        task = Running(namespace, record, self.bundle(namespace, id), runtime)
        self._tasks[namespace, id] = task
        try:
            await self._lifecycle.create(task, spec, rootfs, io)
        except BaseException:
            del self._tasks[namespace, id]
            raise
        return task

    async def _mounts(self, container: Container) -> list[Mount]:
        if self._snapshots is None:
            raise FailedPrecondition(
                f'container "{container.id}" has a snapshot, and no snapshot service'
                " runs: failed precondition"
            )
        found = await self._snapshots.mounts(
            key=container.snapshot_key, snapshotter=container.snapshotter
        )
        return found.mounts

    def runtime_of(self, container: Container) -> Runtime:
        """By the container's runtime name, or the binary that its options name."""
        name = container.runtime.name
        options = container.runtime.options
        if options is not None:
            name = str(as_map(options.value).get("binary_name") or name)
        if name in DEFAULT:
            return next(iter(self._runtimes.values()))
        runtime = self._runtimes.get(name)
        if runtime is None:
            have = ", ".join(self._runtimes)
            raise FailedPrecondition(
                f'container "{container.id}" asks for the runtime "{name}", and there'
                f" is {have}: change the container, or add it to the option runtimes"
                " of pluggd.tasks.v1.oci: failed precondition"
            )
        return runtime
