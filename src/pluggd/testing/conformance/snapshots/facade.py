# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The service of snapshots with the face of a driver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pluggd.model.types import Mount
from pluggd.services import call
from pluggd.services.fsck import Finding
from pluggd.services.snapshots import SnapshotInfo, Snapshots, Usage


class ServiceAsDriver:
    """The service with the face of a driver: one namespace and one snapshotter of it."""

    def __init__(self, service: Snapshots, snapshotter: str, namespace: str) -> None:
        self._service = service
        self._snapshotter = snapshotter
        self._namespace = namespace

    async def prepare(
        self, *, key: str, parent: str = "", labels: Mapping[str, str] = {}
    ) -> list[Mount]:
        with call.using(namespace=self._namespace):
            made = await self._service.prepare(
                key=key,
                parent=parent,
                labels=dict(labels),
                snapshotter=self._snapshotter,
            )
        return made.mounts

    async def view(
        self, *, key: str, parent: str = "", labels: Mapping[str, str] = {}
    ) -> list[Mount]:
        with call.using(namespace=self._namespace):
            made = await self._service.view(
                key=key,
                parent=parent,
                labels=dict(labels),
                snapshotter=self._snapshotter,
            )
        return made.mounts

    async def mounts(self, *, key: str) -> list[Mount]:
        with call.using(namespace=self._namespace):
            return (
                await self._service.mounts(key=key, snapshotter=self._snapshotter)
            ).mounts

    async def commit(
        self, *, name: str, key: str, labels: Mapping[str, str] = {}
    ) -> Usage:
        with call.using(namespace=self._namespace):
            await self._service.commit(
                name=name, key=key, labels=dict(labels), snapshotter=self._snapshotter
            )
            return await self._service.usage(key=name, snapshotter=self._snapshotter)

    async def stat(self, *, key: str) -> SnapshotInfo:
        with call.using(namespace=self._namespace):
            return await self._service.stat(key=key, snapshotter=self._snapshotter)

    async def update(
        self, *, info: SnapshotInfo, fields: Sequence[str] = ()
    ) -> SnapshotInfo:
        with call.using(namespace=self._namespace):
            return await self._service.update(
                info=info, fields=fields, snapshotter=self._snapshotter
            )

    async def walk(self) -> list[SnapshotInfo]:
        with call.using(namespace=self._namespace):
            found = await self._service.list(snapshotter=self._snapshotter)
        return found.snapshots

    async def remove(self, *, key: str) -> int:
        with call.using(namespace=self._namespace):
            await self._service.remove(key=key, snapshotter=self._snapshotter)
        return 0

    async def usage(self, *, key: str) -> Usage:
        with call.using(namespace=self._namespace):
            return await self._service.usage(key=key, snapshotter=self._snapshotter)

    async def cleanup(self) -> int:
        with call.using(namespace=self._namespace):
            await self._service.cleanup(snapshotter=self._snapshotter)
        return 0

    async def check(self, *, deep: bool, repair: bool) -> list[Finding]:
        return []
