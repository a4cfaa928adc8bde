# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A file system that another process brings, in a daemon: it works, it goes away in the
middle of a commit, it comes back, and no client gets at it but through snapshots."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from pluggd.client import Client
from pluggd.errors import NotFound, NotImplemented_, Unavailable
from pluggd.proxy import serve_kind
from pluggd.services.snapshots import SNAPSHOTS, SNAPSHOTTER, Usage
from pluggd.snapshotter import LocalSnapshotter
from pluggd.testing import RunningDaemon, running_daemon
from plugins.native.layout import NativeLayout
from tests.plugins.snapshots.snapshots_setup import LOG
from tests.proxy.test_proxy_plugins import until

URI = "pluggd.snapshotter.v1.far"
ROOT = {"containerd.io/gc.root": "1"}


class Driver(LocalSnapshotter):
    """leaving: called when a commit was done, before it is answered."""

    leaving: Callable[[], None] | None = None

    async def commit(
        self, *, name: str, key: str, labels: Mapping[str, str] = {}
    ) -> Usage:
        usage = await super().commit(name=name, key=key, labels=labels)
        if self.leaving is not None:
            self.leaving()
            await trio.sleep_forever()
        return usage


class Far:
    """The other process, as far as the daemon can tell. driver: that of its last life."""

    driver: Driver

    def __init__(self, address: Path, root: Path) -> None:
        self.address = address
        self._root = root

    @asynccontextmanager
    async def here(self, daemon: RunningDaemon) -> AsyncGenerator[None]:
        """It is there while the block runs, or until its driver leaves."""
        self._root.mkdir(exist_ok=True)
        self.driver = Driver(self._root, NativeLayout(), LOG, sync=False)
        await self.driver.load()
        life = trio.CancelScope()

        async def serve(task_status: trio.TaskStatus[None]) -> None:
            with life:
                await serve_kind(
                    SNAPSHOTTER, self.driver, self.address, task_status=task_status
                )

        async with trio.open_nursery() as nursery:
            await nursery.start(serve)
            await until(daemon, connected=True, uri=URI)
            self.leave = life.cancel
            yield
            life.cancel()
        await until(daemon, connected=False, uri=URI)

    def leaves_at_commit(self) -> None:
        self.driver.leaving = self.leave


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Far]:
    with tempfile.TemporaryDirectory(prefix="pluggd-", dir="/tmp") as directory:
        yield Far(Path(directory) / "far.sock", tmp_path / "far")


@asynccontextmanager
async def running(
    tmp_path: Path, far: Far
) -> AsyncGenerator[tuple[RunningDaemon, Client]]:
    entry = {"kind": "snapshotter", "address": str(far.address)}
    config = {"proxy_plugins": {"far": entry}}
    with trio.fail_after(30):
        async with (
            running_daemon(tmp_path, config) as daemon,
            daemon.client(namespace="one") as client,
        ):
            yield daemon, client


async def names(client: Client) -> list[str]:
    found = await client.get(SNAPSHOTS).list(snapshotter="far")
    return [one.name for one in found.snapshots]


async def test_snapshots_are_made_there_and_removed_there(
    tmp_path: Path, far: Far
) -> None:
    async with running(tmp_path, far) as (daemon, client), far.here(daemon):
        snapshots = client.get(SNAPSHOTS)
        assert "far" in (await snapshots.snapshotters()).snapshotters
        mounts = (
            await snapshots.prepare(key="a", snapshotter="far", labels=ROOT)
        ).mounts
        (Path(mounts[0].source) / "file").write_text("text")
        await snapshots.commit(name="one", key="a", snapshotter="far", labels=ROOT)
        mounts = (
            await snapshots.view(key="v", parent="one", snapshotter="far", labels=ROOT)
        ).mounts
        assert (Path(mounts[0].source) / "file").read_text() == "text"
        await snapshots.remove(key="v", snapshotter="far")
        await snapshots.remove(key="one", snapshotter="far", sync=True)
        assert await far.driver.walk() == []


async def test_no_client_reaches_it_itself(tmp_path: Path, far: Far) -> None:
    async with running(tmp_path, far) as (daemon, client), far.here(daemon):
        with pytest.raises(NotImplemented_, match="snapshotter"):
            await client.get(SNAPSHOTTER).walk()
        described = await client.introspection.describe()
        assert "snapshotter.v1" not in str(described)


async def test_one_that_is_away_harms_no_other_and_may_come_later(
    tmp_path: Path, far: Far
) -> None:
    async with running(tmp_path, far) as (daemon, client):
        snapshots = client.get(SNAPSHOTS)
        with pytest.raises(Unavailable, match="no such file or directory"):
            await snapshots.prepare(key="a", snapshotter="far")
        await snapshots.prepare(key="a", snapshotter="native", labels=ROOT)
        await snapshots.remove(key="a", snapshotter="native")
        async with far.here(daemon):
            await snapshots.prepare(key="a", snapshotter="far", labels=ROOT)
        # Records are answered without it, and what is to be removed waits for it.
        assert await names(client) == ["a"]
        await snapshots.remove(key="a", snapshotter="far")
        await client.gc.run(wait=True)
        assert len(await far.driver.walk()) == 1
        async with far.here(daemon):
            await client.gc.run(wait=True)
            assert await far.driver.walk() == []
        assert daemon.status("pluggd.snapshots.v1.store") == "ok"


async def test_a_commit_without_an_answer_is_found_out_later(
    tmp_path: Path, far: Far
) -> None:
    async with running(tmp_path, far) as (daemon, client):
        snapshots = client.get(SNAPSHOTS)
        async with far.here(daemon):
            await snapshots.prepare(key="a", snapshotter="far", labels=ROOT)
            far.leaves_at_commit()
            with pytest.raises(Unavailable, match="look for either name"):
                await snapshots.commit(
                    name="one", key="a", snapshotter="far", labels=ROOT
                )
        assert await names(client) == ["a"]
        with pytest.raises(Unavailable):
            await snapshots.mounts(key="a", snapshotter="far")
        async with far.here(daemon):
            with pytest.raises(NotFound):
                await snapshots.mounts(key="a", snapshotter="far")
            assert await names(client) == ["one"]
            await client.gc.run(wait=True)
            assert len(await far.driver.walk()) == 1


async def test_a_start_without_it_finishes_its_commits_when_it_is_back(
    tmp_path: Path, far: Far
) -> None:
    async with running(tmp_path, far) as (daemon, client), far.here(daemon):
        snapshots = client.get(SNAPSHOTS)
        await snapshots.prepare(key="a", snapshotter="far", labels=ROOT)
        far.leaves_at_commit()
        with pytest.raises(Unavailable):
            await snapshots.commit(name="one", key="a", snapshotter="far", labels=ROOT)
    async with running(tmp_path, far) as (daemon, client):
        assert daemon.status("pluggd.snapshots.v1.store") == "ok"
        assert await names(client) == ["a"]
        async with far.here(daemon):
            await client.gc.run(wait=True)
            assert await names(client) == ["one"]
