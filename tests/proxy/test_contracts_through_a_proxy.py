# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The contracts of the kinds hold through a proxy: what another process provides cannot
be told from what this one does."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from pathlib import Path

import pytest

from pluggd.services.containers import CONTAINERS, Containers
from pluggd.services.content import CONTENT, Content
from pluggd.services.diff import DIFF, Diff
from pluggd.services.events import EVENTS, Events
from pluggd.services.gc import GC, Gc
from pluggd.services.images import IMAGES, Images
from pluggd.services.leases import LEASES, Leases
from pluggd.services.metadata import METADATA, Metadata
from pluggd.services.namespaces import NAMESPACES, Namespaces
from pluggd.services.snapshots import SNAPSHOTS, SNAPSHOTTER, Snapshots, Snapshotter
from pluggd.testing import started
from pluggd.testing.conformance.containers import ContainersConformance
from pluggd.testing.conformance.content import ContentConformance
from pluggd.testing.conformance.diff import DiffConformance
from pluggd.testing.conformance.events import EventsConformance
from pluggd.testing.conformance.gc import GcConformance
from pluggd.testing.conformance.images import ImagesConformance
from pluggd.testing.conformance.leases import LeasesConformance
from pluggd.testing.conformance.namespaces import NamespacesConformance
from pluggd.testing.conformance.snapshots import (
    SnapshotsConformance,
    SnapshotterConformance,
)
from plugins.diff.config import Config as DiffConfig
from plugins.diff.registration import pluggd_register as diff_register
from plugins.events.config import Config as EventsConfig
from plugins.events.registration import pluggd_register as events_register
from plugins.gc_policy.config import Config as GcConfig
from plugins.gc_policy.registration import pluggd_register as gc_register
from tests.contract.stand import Stand, stand
from tests.plugins.content.content_setup import started_content
from tests.plugins.snapshots.snapshots_setup import driver_of, snapshot_service
from tests.proxy.proxied import proxied

FAR: Mapping[str, str] = {
    "in_process": "it is behind a socket: a transaction is an object of this process, "
    "text that is no Unicode never gets as far, and cancelling returns before the other "
    "process has cleaned up"
}

QUICK = GcConfig(startup_delay="0ms", deletion_threshold=100)


@pytest.fixture
async def stores(metadata: Metadata) -> AsyncGenerator[Stand]:
    async with stand(metadata) as made:
        yield made


class TestImages(ImagesConformance):
    lacks = FAR

    @pytest.fixture
    async def images(self, stores: Stand) -> AsyncGenerator[Images]:
        async with proxied(IMAGES, stores.images) as proxy:
            yield proxy


class TestNamespaces(NamespacesConformance):
    lacks = FAR

    @pytest.fixture
    async def namespaces(self, stores: Stand) -> AsyncGenerator[Namespaces]:
        async with proxied(NAMESPACES, stores.namespaces) as proxy:
            yield proxy


class TestLeases(LeasesConformance):
    lacks = FAR

    @pytest.fixture
    async def leases(self, stores: Stand) -> AsyncGenerator[Leases]:
        async with proxied(LEASES, stores.leases) as proxy:
            yield proxy


class TestContainers(ContainersConformance):
    lacks = FAR

    @pytest.fixture
    async def containers(self, stores: Stand) -> AsyncGenerator[Containers]:
        async with proxied(CONTAINERS, stores.containers) as proxy:
            yield proxy


class TestEvents(EventsConformance):
    lacks = FAR

    @pytest.fixture
    async def events(self, metadata: Metadata) -> AsyncGenerator[Events]:
        kinds = {METADATA: metadata}
        async with (
            started(events_register(), kinds, EventsConfig()) as (service, _),
            proxied(EVENTS, service) as proxy,
        ):
            yield proxy


class TestContent(ContentConformance):
    lacks = FAR

    @pytest.fixture
    async def content(
        self, metadata: Metadata, tmp_path: Path
    ) -> AsyncGenerator[Content]:
        async with (
            started_content(tmp_path / "content", metadata) as content,
            proxied(CONTENT, content) as proxy,
        ):
            yield proxy


class TestGc(GcConformance):
    lacks = FAR

    @pytest.fixture
    async def gc(self, metadata: Metadata) -> AsyncGenerator[Gc]:
        kinds = {METADATA: metadata}
        async with (
            started(gc_register(), kinds, QUICK) as (gc, _),
            proxied(GC, gc) as proxy,
        ):
            yield proxy


class TestDiff(DiffConformance):
    lacks = FAR

    @pytest.fixture
    async def diff(self, content: Content) -> AsyncGenerator[Diff]:
        async with (
            started(diff_register(), {CONTENT: content}, DiffConfig()) as (diff, _),
            proxied(DIFF, diff) as proxy,
        ):
            yield proxy


class TestSnapshotter(SnapshotterConformance):
    """A file system that another process brings."""

    lacks = FAR

    @pytest.fixture(params=["native", "overlayfs"])
    async def snapshotter(
        self, request: pytest.FixtureRequest, tmp_path: Path
    ) -> AsyncGenerator[Snapshotter]:
        driver = await driver_of(request.param, tmp_path)
        async with proxied(SNAPSHOTTER, driver) as proxy:
            yield proxy


class TestSnapshots(SnapshotsConformance):
    lacks = FAR

    @pytest.fixture
    async def snapshots(self, tmp_path: Path) -> AsyncGenerator[Snapshots]:
        drivers = {"native": await driver_of("native", tmp_path)}
        async with (
            snapshot_service(tmp_path, drivers) as stand,
            proxied(SNAPSHOTS, stand.service) as proxy,
        ):
            yield proxy


class TestSnapshotsOverAProxy(SnapshotsConformance):
    """The service is here, and the file system there."""

    @pytest.fixture
    async def snapshots(self, tmp_path: Path) -> AsyncGenerator[Snapshots]:
        driver = await driver_of("native", tmp_path)
        async with (
            proxied(SNAPSHOTTER, driver) as far,
            snapshot_service(tmp_path, {"native": far}) as stand,
        ):
            yield stand.service
