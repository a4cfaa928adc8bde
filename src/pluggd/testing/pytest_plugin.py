# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Fixtures for those who test a plugin of theirs: a real daemon, or all it stands on.

Loaded by pytest for whoever has pluggd installed, so it imports nothing until a fixture
is asked for. The fixtures are asynchronous: they need pytest-trio, and a test that is
run by trio (`trio_mode = true`, or the mark `trio`).

`pluggd_kinds` is a map of in-memory providers by kind, as `pluggd.testing.started` takes
it; each of them is a fixture, too, over the same `pluggd_metadata`. Metadata, content and
snapshotter are fakes that pass the rules of their kinds; the others are the bundled
plugins themselves.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import trio.testing

    from pluggd.client import Client
    from pluggd.services.containers import Containers
    from pluggd.services.content import Content
    from pluggd.services.diff import Diff
    from pluggd.services.events import Events
    from pluggd.services.gc import Gc
    from pluggd.services.images import Images
    from pluggd.services.kind import Kind
    from pluggd.services.leases import Leases
    from pluggd.services.namespaces import Namespaces
    from pluggd.services.snapshots import Snapshots
    from pluggd.testing.daemon import RunningDaemon
    from pluggd.testing.fake_snapshotter import FakeSnapshotter
    from pluggd.testing.memory import MemoryMetadata

# --- a daemon


@pytest.fixture
def pluggd_config() -> Any:
    """The configuration of `pluggd_daemon`: text or nested dicts. Override it."""
    return ""


@pytest.fixture
def pluggd_plugins() -> Any:
    """Registrations that `pluggd_daemon` has beside the bundled ones. Override it."""
    return ()


@pytest.fixture
async def pluggd_daemon(
    tmp_path: Path, pluggd_config: Any, pluggd_plugins: Any
) -> AsyncGenerator[RunningDaemon]:
    """A daemon in this process, with all bundled plugins."""
    from pluggd.testing.daemon import running_daemon

    directory = tmp_path / "pluggd"
    async with running_daemon(directory, pluggd_config, pluggd_plugins) as running:
        yield running


@pytest.fixture
async def pluggd_client(pluggd_daemon: RunningDaemon) -> AsyncGenerator[Client]:
    """A client of `pluggd_daemon` in the namespace `default`."""
    async with pluggd_daemon.client(namespace="default") as client:
        yield client


# --- time


@pytest.fixture
def pluggd_clock() -> trio.testing.MockClock:
    """A clock of the test's own: nobody waits for real, `trio.sleep(3600)` is over when
    nothing else can run. Not for what waits for threads or processes."""
    import trio.testing

    return trio.testing.MockClock(autojump_threshold=0)


# --- what a plugin stands on


@pytest.fixture
def pluggd_found() -> dict[Kind[Any], Any]:
    """Of the fixtures below those that the test asked for, by kind."""
    return {}


@pytest.fixture
async def pluggd_metadata(
    pluggd_found: dict[Kind[Any], Any],
) -> AsyncGenerator[MemoryMetadata]:
    """An empty metadata store in memory."""
    from pluggd.services.metadata import METADATA
    from pluggd.testing.memory import memory_metadata

    async with memory_metadata() as metadata:
        pluggd_found[METADATA] = metadata
        yield metadata


@pytest.fixture
async def pluggd_gc(
    pluggd_metadata: MemoryMetadata, pluggd_found: dict[Kind[Any], Any]
) -> AsyncGenerator[Gc]:
    """The bundled policy. It collects when it is asked to, and after a deletion."""
    from pluggd.services.gc import GC
    from pluggd.testing.bundled import bundled

    async with bundled(GC, pluggd_found, startup_delay="0ms") as gc:
        yield gc


@pytest.fixture
async def pluggd_events(
    pluggd_metadata: MemoryMetadata, pluggd_found: dict[Kind[Any], Any]
) -> AsyncGenerator[Events]:
    from pluggd.services.events import EVENTS
    from pluggd.testing.bundled import bundled

    async with bundled(EVENTS, pluggd_found) as events:
        yield events


@pytest.fixture
async def pluggd_namespaces(
    pluggd_metadata: MemoryMetadata, pluggd_found: dict[Kind[Any], Any]
) -> AsyncGenerator[Namespaces]:
    from pluggd.services.namespaces import NAMESPACES
    from pluggd.testing.bundled import bundled

    async with bundled(NAMESPACES, pluggd_found) as namespaces:
        yield namespaces


@pytest.fixture
async def pluggd_leases(
    pluggd_gc: Gc, pluggd_found: dict[Kind[Any], Any]
) -> AsyncGenerator[Leases]:
    from pluggd.services.leases import LEASES
    from pluggd.testing.bundled import bundled

    async with bundled(LEASES, pluggd_found) as leases:
        yield leases


@pytest.fixture
async def pluggd_images(
    pluggd_gc: Gc, pluggd_found: dict[Kind[Any], Any]
) -> AsyncGenerator[Images]:
    from pluggd.services.images import IMAGES
    from pluggd.testing.bundled import bundled

    async with bundled(IMAGES, pluggd_found) as images:
        yield images


@pytest.fixture
async def pluggd_containers(
    pluggd_metadata: MemoryMetadata, pluggd_found: dict[Kind[Any], Any]
) -> AsyncGenerator[Containers]:
    from pluggd.services.containers import CONTAINERS
    from pluggd.testing.bundled import bundled

    async with bundled(CONTAINERS, pluggd_found) as containers:
        yield containers


@pytest.fixture
async def pluggd_content(
    pluggd_metadata: MemoryMetadata,
    pluggd_gc: Gc,
    pluggd_found: dict[Kind[Any], Any],
) -> AsyncGenerator[Content]:
    """A content store in memory."""
    from pluggd.services.content import CONTENT
    from pluggd.testing.fake_content import fake_content

    async with fake_content(pluggd_metadata, gc=pluggd_gc) as content:
        pluggd_found[CONTENT] = content
        yield content


@pytest.fixture
def pluggd_snapshotter(
    tmp_path: Path, pluggd_found: dict[Kind[Any], Any]
) -> FakeSnapshotter:
    """A driver that copies files below `tmp_path` and needs no privilege."""
    from pluggd.services.snapshots import SNAPSHOTTER
    from pluggd.testing.fake_snapshotter import FakeSnapshotter

    root = tmp_path / "snapshots"
    root.mkdir()
    pluggd_found[SNAPSHOTTER] = snapshotter = FakeSnapshotter(root)
    return snapshotter


@pytest.fixture
async def pluggd_snapshots(
    pluggd_gc: Gc,
    pluggd_namespaces: Namespaces,
    pluggd_snapshotter: FakeSnapshotter,
    pluggd_found: dict[Kind[Any], Any],
) -> AsyncGenerator[Snapshots]:
    """Over `pluggd_snapshotter`, which has the name `fake` there."""
    from pluggd.services.snapshots import SNAPSHOTS
    from pluggd.testing.bundled import bundled

    async with bundled(SNAPSHOTS, pluggd_found) as snapshots:
        yield snapshots


@pytest.fixture
async def pluggd_diff(
    pluggd_content: Content, pluggd_found: dict[Kind[Any], Any]
) -> AsyncGenerator[Diff]:
    """Layers of `pluggd_content`. Its work is done by a process of its own."""
    from pluggd.services.diff import DIFF
    from pluggd.testing.bundled import bundled

    async with bundled(DIFF, pluggd_found) as diff:
        yield diff


@pytest.fixture
def pluggd_kinds(
    pluggd_metadata: MemoryMetadata,
    pluggd_gc: Gc,
    pluggd_events: Events,
    pluggd_namespaces: Namespaces,
    pluggd_leases: Leases,
    pluggd_images: Images,
    pluggd_containers: Containers,
    pluggd_content: Content,
    pluggd_snapshotter: FakeSnapshotter,
    pluggd_snapshots: Snapshots,
    pluggd_diff: Diff,
    pluggd_found: dict[Kind[Any], Any],
) -> dict[Kind[Any], Any]:
    """All of the above, by kind: what a plugin under test finds. Add your own."""
    return pluggd_found
