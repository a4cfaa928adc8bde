# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Snapshotters and the service over them, started by hand over the memory store."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio

from pluggd.model.record import decode
from pluggd.plugin import Skip
from pluggd.services import call
from pluggd.services.envelope import Envelope
from pluggd.services.kind import Kind
from pluggd.services.metadata import Metadata
from pluggd.services.namespaces import NAMESPACES
from pluggd.services.snapshots import SNAPSHOTTER, Snapshots, Snapshotter
from pluggd.snapshotter import LocalSnapshotter
from pluggd.testing import FakeContext
from pluggd.testing.fake_snapshotter import FakeSnapshotter
from pluggd.testing.memory import memory_metadata
from plugins.native.layout import NativeLayout
from plugins.overlayfs.layout import OverlayLayout
from plugins.overlayfs.probe import working_options
from plugins.snapshots.config import Config
from plugins.snapshots.registration import start
from tests.contract.stand import Stand, stand

T = TypeVar("T")
LOG = logging.getLogger("test")


def need_mounts() -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")


async def driver_of(name: str, path: Path) -> Snapshotter:
    """A snapshotter below `path`, or what was left there. Skips where it cannot work."""
    root = path / name
    root.mkdir(exist_ok=True)
    if name == "fake":
        return FakeSnapshotter(root)
    if name == "native":
        return await native(root)
    need_mounts()
    return await overlay(root)


async def native(root: Path) -> LocalSnapshotter:
    snapshotter = LocalSnapshotter(root, NativeLayout(), LOG, sync=False)
    await snapshotter.load()
    return snapshotter


async def overlay(root: Path) -> LocalSnapshotter:
    try:
        options = await trio.to_thread.run_sync(working_options, str(root), ())
    except Skip as reason:
        pytest.skip(str(reason))
    snapshotter = LocalSnapshotter(root, OverlayLayout(options), LOG, sync=False)
    await snapshotter.load()
    return snapshotter


class SnapshotsContext(FakeContext[Config]):
    """Finds all the drivers."""

    drivers: Mapping[str, Snapshotter] = {}

    def get_all(self, kind: Kind[T]) -> dict[str, T]:
        if kind is SNAPSHOTTER:
            return {**self.drivers}  # type: ignore[dict-item]
        return super().get_all(kind)


@dataclass
class SnapshotStand:
    service: Snapshots
    stores: Stand

    @property
    def metadata(self) -> Metadata:
        return self.stores.metadata

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """Topic and payload of the snapshots' events so far."""
        stored = self.metadata.read(lambda view: list(view.events(0)))
        envelopes = [decode(data, Envelope) for _, data in stored]
        return [
            (one.topic, one.event.value)
            for one in envelopes
            if one.topic.startswith("/snapshot/")
        ]

    async def collect(self) -> int:
        """How many bytes a collection freed."""
        return (await self.metadata.collect()).freed_bytes

    async def lease(self, name: str, namespace: str = "ns") -> None:
        with call.using(namespace=namespace):
            await self.stores.leases.create(id=name)


@asynccontextmanager
async def snapshot_service(
    path: Path,
    drivers: Mapping[str, Snapshotter],
    config: Config = Config(),  # noqa: B008  # frozen
    metadata: Metadata | None = None,
) -> AsyncGenerator[SnapshotStand]:
    """The service over these drivers, with the other record stores beside it."""
    if metadata is None:
        async with memory_metadata() as fresh:
            async with snapshot_service(path, drivers, config, fresh) as started:
                yield started
            return
    async with stand(metadata) as stores, trio.open_nursery() as nursery:
        stores.kinds[NAMESPACES] = stores.namespaces
        context = SnapshotsContext(config, stores.kinds, root=path, nursery=nursery)
        context.drivers = drivers
        async with start(context) as service:
            yield SnapshotStand(service, stores)
        await context.stop_tasks()
