# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What every snapshotter promises, be it a driver or the service over one.

Each function takes an empty snapshotter; `SUITE` has them all. They see files through
`pluggd.mount.mounted`, so a snapshotter whose mounts need privileges needs them here.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import pytest
import trio

from pluggd.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PluggdError,
)
from pluggd.model.types import Mount
from pluggd.mount import mounted
from pluggd.services import call
from pluggd.services.fsck import Finding
from pluggd.services.snapshots import SnapshotInfo, Snapshots, Snapshotter, Usage


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


# --- helpers


def write(mounts: list[Mount], **files: str) -> None:
    with mounted(mounts) as root:
        for name, text in files.items():
            Path(root, name).write_text(text)


def files(mounts: list[Mount]) -> dict[str, str]:
    with mounted(mounts, reading=True) as root:
        return {
            name: Path(root, name).read_text()
            for name in sorted(os.listdir(root))
            if Path(root, name).is_file()
        }


async def layer(
    snapshots: Snapshotter, name: str, parent: str = "", **content: str
) -> None:
    """A committed snapshot with these files."""
    write(await snapshots.prepare(key=f"make {name}", parent=parent), **content)
    await snapshots.commit(name=name, key=f"make {name}")


async def names(snapshots: Snapshotter) -> list[str]:
    return [info.name for info in await snapshots.walk()]


# --- what is in them


async def an_active_snapshot_is_empty_and_can_be_written(s: Snapshotter) -> None:
    mounts = await s.prepare(key="a")
    assert files(mounts) == {}
    write(mounts, x="1")
    assert files(await s.mounts(key="a")) == {"x": "1"}


async def a_child_has_the_files_of_its_parents(s: Snapshotter) -> None:
    await layer(s, "one", x="1", y="1")
    await layer(s, "two", "one", y="2", z="2")
    assert files(await s.prepare(key="c", parent="two")) == {
        "x": "1",
        "y": "2",
        "z": "2",
    }
    assert files(await s.prepare(key="d", parent="one")) == {"x": "1", "y": "1"}


async def a_removed_file_is_gone_in_children_alone(s: Snapshotter) -> None:
    await layer(s, "one", x="1", y="1")
    mounts = await s.prepare(key="a", parent="one")
    with mounted(mounts) as root:
        os.unlink(f"{root}/x")
    await s.commit(name="two", key="a")
    assert files(await s.view(key="v", parent="two")) == {"y": "1"}
    assert files(await s.view(key="w", parent="one")) == {"x": "1", "y": "1"}


async def siblings_do_not_see_each_other(s: Snapshotter) -> None:
    await layer(s, "one", x="1")
    first = await s.prepare(key="a", parent="one")
    second = await s.prepare(key="b", parent="one")
    write(first, x="a", a="a")
    write(second, x="b")
    assert files(first) == {"a": "a", "x": "a"}
    assert files(second) == {"x": "b"}
    assert files(await s.view(key="v", parent="one")) == {"x": "1"}


async def a_view_shows_all_layers_and_cannot_be_written(s: Snapshotter) -> None:
    await layer(s, "one", x="1")
    await layer(s, "two", "one", y="2")
    mounts = await s.view(key="v", parent="two")
    assert files(mounts) == {"x": "1", "y": "2"}
    assert await s.mounts(key="v") == mounts
    assert "ro" in mounts[0].options or not any(
        option.startswith("upperdir=") for option in mounts[0].options
    )
    assert (await s.stat(key="v")).kind == "view"


async def owners_modes_and_links_go_to_the_child(s: Snapshotter) -> None:
    mounts = await s.prepare(key="a")
    with mounted(mounts) as root:
        os.mkdir(f"{root}/d", 0o700)
        with open(f"{root}/d/f", "w") as stream:  # noqa: ASYNC230
            stream.write("text")
        os.chmod(f"{root}/d/f", 0o4751)
        os.link(f"{root}/d/f", f"{root}/d/g")
        os.symlink("/etc/passwd", f"{root}/l")
        os.utime(f"{root}/d/f", ns=(10**18, 10**18 + 7))
        os.chmod(root, 0o711)
    await s.commit(name="one", key="a")
    with mounted(await s.prepare(key="b", parent="one")) as root:
        assert os.stat(f"{root}/d").st_mode & 0o7777 == 0o700
        status = os.stat(f"{root}/d/f")
        assert status.st_mode & 0o7777 == 0o4751
        assert status.st_mtime_ns == 10**18 + 7
        assert status.st_ino == os.stat(f"{root}/d/g").st_ino
        assert os.readlink(f"{root}/l") == "/etc/passwd"
        assert os.stat(root).st_mode & 0o7777 == 0o711


# --- names and kinds


async def a_key_is_taken_once_among_all_kinds(s: Snapshotter) -> None:
    await layer(s, "one")
    await s.prepare(key="a")
    await s.view(key="v")
    for key in ("a", "v", "one"):
        for make in (s.prepare, s.view):
            with pytest.raises(
                AlreadyExists, match=f'^snapshot "{key}": already exists$'
            ):
                await make(key=key)
    for name in ("v", "one", "a"):
        with pytest.raises(AlreadyExists, match=f'snapshot "{name}": already exists'):
            await s.commit(name=name, key="a")
    assert (await s.stat(key="a")).kind == "active"


async def keys_are_any_text_but_empty(s: Snapshotter) -> None:
    keys = [
        "extract-1-abc sha256:00",
        "/mnt/x",
        "..",
        "a/../b",
        "é",
        "new-1",
        "1",
        "k" * 900,
    ]
    for key in keys:
        await s.prepare(key=key)
        assert (await s.stat(key=key)).name == key
    assert await names(s) == sorted(keys, key=str.encode)
    for make in (s.prepare, s.view):
        with pytest.raises(InvalidArgument, match="empty"):
            await make(key="")


async def a_parent_exists_and_is_committed(s: Snapshotter) -> None:
    await s.prepare(key="a")
    await s.view(key="v")
    for make in (s.prepare, s.view):
        with pytest.raises(
            NotFound, match=r"^parent snapshot zzz does not exist: not found$"
        ):
            await make(key="b", parent="zzz")
        for parent in ("a", "v"):
            with pytest.raises(
                InvalidArgument,
                match=f'^failed to create snapshot: parent "{parent}" is not committed snapshot',
            ):
                await make(key="b", parent=parent)
    assert await names(s) == ["a", "v"]


async def a_commit_moves_the_key_to_the_name(s: Snapshotter) -> None:
    await layer(s, "one")
    await s.prepare(key="a", parent="one", labels={"containerd.io/snapshot/x": "1"})
    before = await s.stat(key="a")
    assert (before.parent, before.labels) == ("one", {"containerd.io/snapshot/x": "1"})
    assert before.created_at == before.updated_at > 0
    await s.commit(name="two", key="a", labels={"containerd.io/snapshot/y": "2"})
    after = await s.stat(key="two")
    assert (after.kind, after.parent) == ("committed", "one")
    assert after.labels == {"containerd.io/snapshot/y": "2"}
    assert after.created_at == after.updated_at > before.created_at
    with pytest.raises(NotFound, match=r"^snapshot a does not exist: not found$"):
        await s.stat(key="a")
    await s.prepare(key="a", parent="two")


async def only_an_active_one_is_committed(s: Snapshotter) -> None:
    await layer(s, "one")
    await s.view(key="v", parent="one")
    for key in ("v", "one"):
        with pytest.raises(
            FailedPrecondition,
            match=f'^failed to commit snapshot: snapshot "{key}" is not active',
        ):
            await s.commit(name="two", key=key)
    with pytest.raises(NotFound, match=r"^snapshot zz does not exist: not found$"):
        await s.commit(name="two", key="zz")


async def a_committed_one_has_no_mounts(s: Snapshotter) -> None:
    await layer(s, "one")
    with pytest.raises(
        FailedPrecondition,
        match=r"^failed to get snapshot mount: requested snapshot one not active or view",
    ):
        await s.mounts(key="one")
    with pytest.raises(NotFound, match=r"^snapshot zz does not exist: not found$"):
        await s.mounts(key="zz")


async def a_parent_stays_until_its_last_child_is_gone(s: Snapshotter) -> None:
    await layer(s, "one")
    await layer(s, "two", "one")
    await s.prepare(key="a", parent="one")
    await s.view(key="v", parent="one")
    for key in ("a", "two", "v"):
        with pytest.raises(
            FailedPrecondition, match=r"^cannot remove snapshot with child"
        ):
            await s.remove(key="one")
        await s.remove(key=key)
    await s.remove(key="one")
    assert await names(s) == []
    with pytest.raises(NotFound, match=r"^snapshot one does not exist: not found$"):
        await s.remove(key="one")


async def a_removed_key_can_be_used_again(s: Snapshotter) -> None:
    write(await s.prepare(key="a"), x="1")
    await s.remove(key="a")
    await s.cleanup()
    assert files(await s.prepare(key="a")) == {}


async def cleanup_takes_nothing_that_exists(s: Snapshotter) -> None:
    await layer(s, "one", x="1")
    mounts = await s.prepare(key="a", parent="one")
    await s.cleanup()
    assert files(mounts) == {"x": "1"}
    assert await names(s) == ["a", "one"]


# --- labels and figures


async def labels_are_replaced_or_changed_one_by_one(s: Snapshotter) -> None:
    x, y = "containerd.io/snapshot/x", "containerd.io/snapshot/y"
    await s.prepare(key="a", labels={x: "1", y: ""})
    before = await s.stat(key="a")
    assert before.labels == {x: "1"}
    asked = SnapshotInfo(name="a", parent="zz", labels={y: "2"})
    changed = await s.update(info=asked, fields=[f"labels.{y}"])
    assert changed.labels == {x: "1", y: "2"}
    assert changed.created_at == before.created_at
    assert changed.updated_at > before.updated_at
    assert (await s.update(info=asked)).labels == {y: "2"}
    changed = await s.update(info=SnapshotInfo(name="a"), fields=[f"labels.{y}"])
    assert changed.labels == {}
    assert await s.stat(key="a") == changed
    assert changed.parent == ""
    for field in ("parent", "kind", "name"):
        with pytest.raises(InvalidArgument, match=f'"{field}"'):
            await s.update(info=asked, fields=[field])
    with pytest.raises(NotFound):
        await s.update(info=SnapshotInfo(name="zz"))


async def usage_grows_with_what_is_written(s: Snapshotter) -> None:
    mounts = await s.prepare(key="a")
    empty = await s.usage(key="a")
    assert empty.inodes == 1
    write(mounts, x="x" * 100_000, y="1")
    with mounted(mounts) as root:
        os.link(f"{root}/x", f"{root}/z")
        os.sync()
    used = await s.usage(key="a")
    assert used.inodes == 3
    assert used.size >= empty.size + 100_000
    committed = await s.commit(name="one", key="a")
    assert committed == await s.usage(key="one")
    assert committed.inodes == 3
    await s.view(key="v", parent="one")
    assert await s.usage(key="v") == Usage()
    with pytest.raises(NotFound):
        await s.usage(key="zz")


# --- at the same time


async def of_many_that_want_a_key_one_gets_it(s: Snapshotter) -> None:
    await layer(s, "one", x="1")
    outcomes: list[str] = []

    async def want() -> None:
        try:
            await s.prepare(key="a", parent="one")
            outcomes.append("made")
        except AlreadyExists:
            outcomes.append("exists")

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(want)
    assert sorted(outcomes) == ["exists"] * 7 + ["made"]
    await s.cleanup()
    assert await names(s) == ["a", "one"]


async def a_parent_and_what_is_made_on_it_go_or_stay_together(s: Snapshotter) -> None:
    for number in range(10):
        await layer(s, f"p{number}", x="1")
        outcomes: list[str] = []

        async def make(number: int = number, outcomes: list[str] = outcomes) -> None:
            try:
                await s.prepare(key=f"c{number}", parent=f"p{number}")
                outcomes.append("made")
            except PluggdError:
                outcomes.append("refused")

        async def remove(number: int = number, outcomes: list[str] = outcomes) -> None:
            try:
                await s.remove(key=f"p{number}")
                outcomes.append("removed")
            except PluggdError:
                outcomes.append("kept")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(make)
            nursery.start_soon(remove)
        assert sorted(outcomes) in (["kept", "made"], ["refused", "removed"])
        there = await names(s)
        assert (f"c{number}" in there) == (f"p{number}" in there)


async def a_commit_happens_once(s: Snapshotter) -> None:
    await s.prepare(key="a")
    outcomes: list[str] = []

    async def commit(name: str) -> None:
        try:
            await s.commit(name=name, key="a")
            outcomes.append(name)
        except PluggdError:
            pass

    async with trio.open_nursery() as nursery:
        for number in range(6):
            nursery.start_soon(commit, f"c{number}")
    assert len(outcomes) == 1
    assert await names(s) == outcomes


Promise = Callable[[Snapshotter], Awaitable[None]]
_HELPERS = {layer, names}
SUITE: list[Promise] = [
    function
    for function in list(globals().values())
    if inspect.iscoroutinefunction(function)
    and function.__module__ == __name__
    and function not in _HELPERS
]
