# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the service adds to drivers: namespaces, leases, events, references, collection."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from pluggd.errors import (
    AlreadyExists,
    DataLoss,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from pluggd.model.record import encode
from pluggd.model.types import Any as Typed
from pluggd.model.types import Mount
from pluggd.services import call
from pluggd.services.containers import Container, Runtime
from pluggd.services.fsck import Finding
from pluggd.services.metadata import Transaction
from pluggd.services.namespaces import Namespace
from pluggd.services.snapshots import SnapshotInfo, Usage
from pluggd.testing.fake_snapshotter import FakeSnapshotter
from plugins.snapshots.cleaning import Cleaner
from plugins.snapshots.config import Config
from plugins.snapshots.locks import InFlight
from plugins.snapshots.records import COMMITS, PendingCommit
from tests.plugins.snapshots.snapshots_setup import LOG, SnapshotStand, snapshot_service

ROOT = {"containerd.io/gc.root": "1"}


class Fixture:
    def __init__(self, stand: SnapshotStand, driver: FakeSnapshotter) -> None:
        self.stand = stand
        self.driver = driver
        self.s = stand.service

    async def layer(self, name: str, parent: str = "", **labels: str) -> None:
        await self.s.prepare(key=f"make {name}", parent=parent)
        await self.s.commit(name=name, key=f"make {name}", labels=labels)

    async def names(self) -> list[str]:
        return [one.name for one in (await self.s.list()).snapshots]

    async def driver_keys(self) -> list[str]:
        """The last parts of the driver's keys."""
        return sorted(one.name.split("/", 3)[3] for one in await self.driver.walk())


@pytest.fixture
async def f(tmp_path: Path) -> AsyncGenerator[Fixture]:
    driver = FakeSnapshotter(tmp_path)
    with trio.fail_after(30), call.using(namespace="ns"):
        async with snapshot_service(tmp_path, {"fake": driver}) as stand:
            yield Fixture(stand, driver)


async def test_namespaces_do_not_see_each_other(f: Fixture) -> None:
    await f.layer("one")
    with call.using(namespace="other"):
        assert await f.names() == []
        with pytest.raises(NotFound, match=r"^parent snapshot one does not exist"):
            await f.s.prepare(key="a", parent="one")
        await f.layer("one")
    assert await f.names() == ["one"]


async def test_a_namespace_is_required(f: Fixture) -> None:
    with (
        call.using(namespace=""),
        pytest.raises(FailedPrecondition, match=r"^namespace is required"),
    ):
        await f.s.prepare(key="a")


async def test_the_snapshotter_is_chosen_and_checked(tmp_path: Path) -> None:
    drivers: dict[str, FakeSnapshotter] = {}
    for name in ("native", "overlayfs", "a"):
        (tmp_path / name).mkdir()
        drivers[name] = FakeSnapshotter(tmp_path / name)
    with call.using(namespace="ns"):
        async with snapshot_service(tmp_path, drivers) as stand:
            s = stand.service
            found = await s.snapshotters()
            assert found.default == "overlayfs"
            assert found.snapshotters == ["a", "native", "overlayfs"]
            await s.prepare(key="k")
            await s.prepare(key="k", snapshotter="native")
            assert len(await drivers["overlayfs"].walk()) == 1
            assert len(await drivers["native"].walk()) == 1
            assert (await s.list(snapshotter="a")).snapshots == []
            for method in (s.stat, s.mounts, s.remove, s.usage, s.prepare, s.view):
                with pytest.raises(
                    InvalidArgument, match=r"^snapshotter not loaded: zfs; there is a,"
                ):
                    await method(key="k", snapshotter="zfs")
            label = {"containerd.io/defaults/snapshotter": "a"}
            await stand.stores.namespaces.create(
                namespace=Namespace(name="labelled", labels=label)
            )
            with call.using(namespace="labelled"):
                assert (await s.snapshotters()).default == "a"
        async with snapshot_service(tmp_path, drivers, Config(default="a")) as stand:
            assert (await stand.service.snapshotters()).default == "a"
        with pytest.raises(ExceptionGroup) as failed:
            async with snapshot_service(tmp_path, drivers, Config(default="zfs")):
                pass
        assert failed.group_contains(FailedPrecondition, match='default = "zfs"')


async def test_labels_are_checked_and_only_some_reach_the_driver(f: Fixture) -> None:
    labels = {"a": "1", "containerd.io/snapshot/x": "2", "empty": ""}
    await f.s.prepare(key="a", labels=labels)
    assert (await f.s.stat(key="a")).labels == {
        "a": "1",
        "containerd.io/snapshot/x": "2",
    }
    [info] = await f.driver.walk()
    assert info.labels == {"containerd.io/snapshot/x": "2"}
    await f.s.update(
        info=SnapshotInfo(name="a", labels={"containerd.io/snapshot/x": "3"}),
        fields=["labels.containerd.io/snapshot/x"],
    )
    [info] = await f.driver.walk()
    assert info.labels == {"containerd.io/snapshot/x": "3"}
    with pytest.raises(InvalidArgument, match="4096"):
        await f.s.prepare(key="b", labels={"k": "v" * 4096})
    with pytest.raises(InvalidArgument, match="snapshot name must not be empty"):
        await f.s.commit(name="", key="a")


async def test_events_tell_what_happened(f: Fixture) -> None:
    await f.layer("one")
    await f.s.prepare(key="a", parent="one")
    await f.s.view(key="v", parent="one")
    await f.s.remove(key="a")
    await f.s.remove(key="v")
    await f.stand.collect()
    snapshotter = {"snapshotter": "fake"}
    assert f.stand.events() == [
        ("/snapshot/prepare", {"key": "make one", **snapshotter}),
        ("/snapshot/commit", {"key": "make one", "name": "one", **snapshotter}),
        ("/snapshot/prepare", {"key": "a", "parent": "one", **snapshotter}),
        ("/snapshot/remove", {"key": "a", **snapshotter}),
        ("/snapshot/remove", {"key": "v", **snapshotter}),
        ("/snapshot/remove", {"key": "one", **snapshotter}),
    ]


async def test_a_list_is_filtered_and_goes_in_pages(f: Fixture) -> None:
    await f.layer("one", x="1")
    await f.s.prepare(key="b", parent="one", labels={"x": "2"})
    await f.s.view(key="A", parent="one")
    assert await f.names() == ["A", "b", "one"]

    async def names(*filters: str) -> list[str]:
        return [one.name for one in (await f.s.list(filters=filters)).snapshots]

    assert await names("kind==view") == ["A"]
    assert await names("parent==one", "name==one") == ["A", "b", "one"]
    assert await names("labels.x==2") == ["b"]
    page = await f.s.list(limit=2)
    assert ([one.name for one in page.snapshots], page.next) == (["A", "b"], "b")
    page = await f.s.list(limit=2, after=page.next)
    assert ([one.name for one in page.snapshots], page.next) == (["one"], "")
    with pytest.raises(InvalidArgument, match=r"^filters: parse error"):
        await f.s.list(filters=["name=="])


# --- what keeps what


async def test_what_nothing_keeps_is_collected_children_first(f: Fixture) -> None:
    await f.layer("one")
    await f.layer("two", "one")
    await f.s.prepare(key="a", parent="two")
    assert await f.stand.collect() > 0
    assert await f.names() == []
    assert await f.driver.walk() == []
    removed = [
        key.split("/")[-1] for method, key in f.driver.calls if method == "remove"
    ]
    assert removed == ["a", "two", "one"]


async def test_a_label_a_container_and_a_child_keep_it(f: Fixture) -> None:
    await f.layer("one")
    await f.layer("two", "one")
    await f.s.prepare(key="a", parent="two")
    await f.s.prepare(key="rooted", labels=ROOT)
    await f.s.prepare(
        key="late", labels={"containerd.io/gc.expire": "2001-01-01T00:00:00Z"}
    )
    await f.s.prepare(
        key="soon", labels={"containerd.io/gc.expire": "2201-01-01T00:00:00Z"}
    )
    await f.stand.stores.containers.create(
        container=Container(
            id="c",
            runtime=Runtime(name="r"),
            spec=Typed(type_url="t", value={}),
            snapshotter="fake",
            snapshot_key="a",
        )
    )
    await f.stand.collect()
    assert await f.names() == ["a", "one", "rooted", "soon", "two"]
    await f.stand.stores.containers.delete(id="c")
    await f.stand.collect()
    assert await f.names() == ["rooted", "soon"]
    assert await f.driver_keys() == ["rooted", "soon"]


async def test_a_lease_keeps_what_was_made_under_it(f: Fixture) -> None:
    await f.stand.lease("l")
    with call.using(lease="l"):
        await f.layer("one")
        await f.s.prepare(key="a", parent="one")
        await f.layer("alone")
    await f.stand.collect()
    assert await f.names() == ["a", "alone", "one"]
    await f.stand.stores.leases.delete(id="l")
    await f.stand.collect()
    assert await f.names() == []


async def test_what_exists_already_goes_on_the_lease(f: Fixture) -> None:
    await f.s.prepare(key="a", labels=ROOT)
    await f.layer("one", **ROOT)
    await f.s.prepare(key="b")
    await f.stand.lease("l")
    with call.using(lease="l"):
        with pytest.raises(AlreadyExists, match=r'^snapshot "a": already exists'):
            await f.s.prepare(key="a")
        with pytest.raises(AlreadyExists, match=r'^snapshot "one": already exists'):
            await f.s.commit(name="one", key="b")
    for name in ("a", "one"):
        await f.s.update(info=SnapshotInfo(name=name))
    await f.stand.collect()
    assert await f.names() == ["a", "one"]


async def test_a_lease_that_does_not_exist_leaves_nothing(f: Fixture) -> None:
    with (
        call.using(lease="nope"),
        pytest.raises(NotFound, match=r"^lease does not exist"),
    ):
        await f.s.prepare(key="a")
    assert await f.names() == []
    assert await f.driver.walk() == []


async def test_the_target_of_a_preparation_may_exist_already(f: Fixture) -> None:
    labels = {"containerd.io/snapshot.ref": "c2"}
    await f.layer("c2")
    await f.stand.lease("l")
    with (
        call.using(lease="l"),
        pytest.raises(AlreadyExists, match=r'^target snapshot "c2": already exists'),
    ):
        await f.s.prepare(key="extract", labels=labels)
    await f.stand.collect()
    assert await f.names() == ["c2"]
    await f.s.prepare(key="other", labels={"containerd.io/snapshot.ref": "c3"})


async def test_a_collected_child_does_not_keep_its_parent_from_being_removed(
    f: Fixture,
) -> None:
    await f.layer("one", **ROOT)
    await f.s.prepare(key="a", parent="one")
    with pytest.raises(
        FailedPrecondition,
        match=r'^cannot remove snapshot with child: "one" is the parent of "a"; remove',
    ):
        await f.s.remove(key="one")
    await f.stand.collect()
    assert await f.names() == ["one"]
    await f.s.remove(key="one", sync=True)
    assert await f.driver.walk() == []


async def test_children_are_not_confused_by_their_names(f: Fixture) -> None:
    for name in ("a", "a/b", "1:a"):
        await f.layer(name, **ROOT)
    await f.s.prepare(key="c", parent="a/b", labels=ROOT)
    await f.s.prepare(key="b/c", parent="1:a", labels=ROOT)
    await f.s.remove(key="a")
    with pytest.raises(FailedPrecondition, match='"a/b" is the parent of "c"'):
        await f.s.remove(key="a/b")


async def test_a_namespace_with_snapshots_stays(f: Fixture) -> None:
    await f.s.prepare(key="a", labels=ROOT)
    with pytest.raises(FailedPrecondition, match='snapshots on "fake" snapshotter'):
        await f.stand.stores.namespaces.delete(name="ns")


# --- when drivers fail


async def test_a_driver_that_fails_leaves_no_record(f: Fixture) -> None:
    f.driver.failing["prepare"] = ResourceExhausted("full")
    with pytest.raises(ResourceExhausted, match="full"):
        await f.s.prepare(key="a")
    assert await f.names() == []
    await f.s.prepare(key="a")


async def test_a_commit_that_fails_leaves_the_active_one(f: Fixture) -> None:
    await f.s.prepare(key="a", labels=ROOT)
    f.driver.failing["commit"] = ResourceExhausted("full")
    with pytest.raises(ResourceExhausted, match="full"):
        await f.s.commit(name="one", key="a")
    assert await f.names() == ["a"]
    assert f.stand.metadata.read(lambda view: list(view.scan(COMMITS, "ns"))) == []
    await f.s.commit(name="one", key="a")


async def test_what_cannot_be_removed_now_is_removed_later(f: Fixture) -> None:
    await f.s.prepare(key="a")
    f.driver.failing["remove"] = Internal("busy")
    await f.s.remove(key="a", sync=True)
    assert await f.driver_keys() == ["a"]
    await f.s.prepare(key="a", labels=ROOT)
    await f.stand.collect()
    assert len(await f.driver.walk()) == 1
    assert await f.names() == ["a"]


async def test_a_snapshot_that_its_driver_lost_is_said_to_be_lost(f: Fixture) -> None:
    await f.s.prepare(key="a", labels=ROOT)
    [info] = await f.driver.walk()
    await f.driver.remove(key=info.name)
    for method in (f.s.mounts, f.s.usage):
        with pytest.raises(DataLoss, match=r'^snapshot "a" is recorded, and its'):
            await method(key="a")
    with pytest.raises(DataLoss, match=r'^snapshot "a" is recorded, and its'):
        await f.s.commit(name="one", key="a")
    await f.s.remove(key="a", sync=True)


# --- after a kill


def intend(txn: Transaction, pending: PendingCommit) -> None:
    txn.put(COMMITS, "ns", f"fake/{pending.key}", encode(pending))


async def test_a_start_finishes_or_forgets_commits(f: Fixture) -> None:
    for key in ("done", "undone"):
        await f.s.prepare(key=key, labels=ROOT)
    # As a kill in the middle leaves it: the intents are recorded, and the driver has
    # done one of them.
    store = ""
    for info in await f.driver.walk():
        _, store, serial, key = info.name.split("/")
        pending = PendingCommit(
            key=key,
            name=f"{key} c",
            labels=ROOT,
            driver_name=f"ns/{store}/{serial}9/{key} c",
        )
        await f.stand.metadata.update(partial(intend, pending=pending))
        if key == "done":
            await f.driver.commit(name=pending.driver_name, key=info.name)
    cleaner = Cleaner(f.stand.metadata, {"fake": f.driver}, store, InFlight(), LOG)
    await cleaner.finish_commits()
    found = (await f.s.list()).snapshots
    assert [(one.name, one.kind, one.labels) for one in found] == [
        ("done c", "committed", ROOT),
        ("undone", "active", ROOT),
    ]
    await f.s.mounts(key="undone")
    assert f.stand.events()[-1][0] == "/snapshot/commit"
    await f.s.cleanup()
    assert len(await f.driver.walk()) == 2


async def test_what_a_kill_left_is_removed_and_what_is_of_others_is_not(
    f: Fixture,
) -> None:
    await f.s.prepare(key="a", labels=ROOT)
    [info] = await f.driver.walk()
    store = info.name.split("/")[1]
    await f.driver.prepare(key=f"ns/{store}/00000000.0000000001/left")
    await f.driver.prepare(key="ns/other/00000000.0000000001/theirs")
    await f.driver.prepare(key="unknown")
    await f.s.cleanup()
    assert sorted(one.name for one in await f.driver.walk()) == sorted(
        [info.name, "ns/other/00000000.0000000001/theirs", "unknown"]
    )


class Away(FakeSnapshotter):
    """Cannot be asked what it has for some time."""

    away = True

    async def walk(self) -> list[SnapshotInfo]:
        if self.away:
            raise Unavailable("away")
        return await super().walk()


async def test_what_a_kill_left_with_a_driver_that_was_away_goes_with_a_collection(
    tmp_path: Path,
) -> None:
    driver = Away(tmp_path)
    with trio.fail_after(30), call.using(namespace="ns"):
        async with snapshot_service(tmp_path, {"fake": driver}) as stand:
            await trio.testing.wait_all_tasks_blocked()
            driver.away = False
            await stand.service.prepare(key="a", labels=ROOT)
            [info] = await driver.walk()
            store = info.name.split("/")[1]
            await driver.prepare(key=f"ns/{store}/00000000.0000000001/left")
            await stand.collect()
            assert await driver.walk() == [info]


class Interrupted(FakeSnapshotter):
    """Calls `between` after it did its work and before anybody knows."""

    between: Callable[[], Awaitable[object]] | None = None

    async def prepare(
        self, *, key: str, parent: str = "", labels: Mapping[str, str] = {}
    ) -> list[Mount]:
        made = await super().prepare(key=key, parent=parent, labels=labels)
        await self._interrupt()
        return made

    async def commit(
        self, *, name: str, key: str, labels: Mapping[str, str] = {}
    ) -> Usage:
        usage = await super().commit(name=name, key=key, labels=labels)
        await self._interrupt()
        return usage

    async def _interrupt(self) -> None:
        if self.between is not None:
            await self.between()


async def test_what_is_not_recorded_yet_is_no_leftover(tmp_path: Path) -> None:
    driver = Interrupted(tmp_path)
    with trio.fail_after(30), call.using(namespace="ns"):
        async with snapshot_service(tmp_path, {"fake": driver}) as stand:
            [resource] = [
                one for one in stand.metadata.resources() if one.type == "snapshot/"
            ]
            assert resource.check is not None
            check, snapshots = resource.check, stand.service
            found: list[Finding] = []

            async def between() -> None:
                await snapshots.cleanup()
                found.extend((await check(deep=True, repair=True)).findings)

            driver.between = between
            await snapshots.prepare(key="a", labels=ROOT)
            await snapshots.mounts(key="a")
            await snapshots.commit(name="one", key="a", labels=ROOT)
            await snapshots.prepare(key="b", parent="one", labels=ROOT)
            assert len(await driver.walk()) == 2
            assert found == []


async def test_what_is_collected_while_it_is_committed_is_gone(tmp_path: Path) -> None:
    driver = Interrupted(tmp_path)
    with trio.fail_after(30), call.using(namespace="ns"):
        async with snapshot_service(tmp_path, {"fake": driver}) as stand:
            await stand.service.prepare(key="a")
            driver.between = stand.collect
            with pytest.raises(NotFound, match=r"^snapshot a does not exist"):
                await stand.service.commit(name="one", key="a")
            driver.between = None
            await stand.collect()
            assert (await stand.service.list()).snapshots == []
            assert await driver.walk() == []
