# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Keys, names, parents and kinds."""

from __future__ import annotations

import pytest

from pluggd.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
)
from pluggd.services.snapshots import Snapshotter
from pluggd.testing.conformance.base import Conformance
from pluggd.testing.conformance.snapshots.kit import files, layer, names, write


class Naming(Conformance):
    """Keys, names, parents and kinds."""

    async def test_a_key_is_taken_once_among_all_kinds(
        self, snapshotter: Snapshotter
    ) -> None:
        await layer(snapshotter, "one")
        await snapshotter.prepare(key="a")
        await snapshotter.view(key="v")
        for key in ("a", "v", "one"):
            for make in (snapshotter.prepare, snapshotter.view):
                with pytest.raises(
                    AlreadyExists, match=f'^snapshot "{key}": already exists$'
                ):
                    await make(key=key)
        for name in ("v", "one", "a"):
            with pytest.raises(
                AlreadyExists, match=f'snapshot "{name}": already exists'
            ):
                await snapshotter.commit(name=name, key="a")
        assert (await snapshotter.stat(key="a")).kind == "active"

    async def test_keys_are_any_text_but_empty(self, snapshotter: Snapshotter) -> None:
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
            await snapshotter.prepare(key=key)
            assert (await snapshotter.stat(key=key)).name == key
        assert await names(snapshotter) == sorted(keys, key=str.encode)
        for make in (snapshotter.prepare, snapshotter.view):
            with pytest.raises(InvalidArgument, match="empty"):
                await make(key="")

    async def test_a_parent_exists_and_is_committed(
        self, snapshotter: Snapshotter
    ) -> None:
        await snapshotter.prepare(key="a")
        await snapshotter.view(key="v")
        for make in (snapshotter.prepare, snapshotter.view):
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
        assert await names(snapshotter) == ["a", "v"]

    async def test_a_commit_moves_the_key_to_the_name(
        self, snapshotter: Snapshotter
    ) -> None:
        await layer(snapshotter, "one")
        await snapshotter.prepare(
            key="a", parent="one", labels={"containerd.io/snapshot/x": "1"}
        )
        before = await snapshotter.stat(key="a")
        assert (before.parent, before.labels) == (
            "one",
            {"containerd.io/snapshot/x": "1"},
        )
        assert before.created_at == before.updated_at > 0
        await snapshotter.commit(
            name="two", key="a", labels={"containerd.io/snapshot/y": "2"}
        )
        after = await snapshotter.stat(key="two")
        assert (after.kind, after.parent) == ("committed", "one")
        assert after.labels == {"containerd.io/snapshot/y": "2"}
        assert after.created_at == after.updated_at > before.created_at
        with pytest.raises(NotFound, match=r"^snapshot a does not exist: not found$"):
            await snapshotter.stat(key="a")
        await snapshotter.prepare(key="a", parent="two")

    async def test_only_an_active_one_is_committed(
        self, snapshotter: Snapshotter
    ) -> None:
        await layer(snapshotter, "one")
        await snapshotter.view(key="v", parent="one")
        for key in ("v", "one"):
            with pytest.raises(
                FailedPrecondition,
                match=f'^failed to commit snapshot: snapshot "{key}" is not active',
            ):
                await snapshotter.commit(name="two", key=key)
        with pytest.raises(NotFound, match=r"^snapshot zz does not exist: not found$"):
            await snapshotter.commit(name="two", key="zz")

    async def test_a_committed_one_has_no_mounts(
        self, snapshotter: Snapshotter
    ) -> None:
        await layer(snapshotter, "one")
        with pytest.raises(
            FailedPrecondition,
            match=r"^failed to get snapshot mount: requested snapshot one not active or view",
        ):
            await snapshotter.mounts(key="one")
        with pytest.raises(NotFound, match=r"^snapshot zz does not exist: not found$"):
            await snapshotter.mounts(key="zz")

    async def test_a_parent_stays_until_its_last_child_is_gone(
        self, snapshotter: Snapshotter
    ) -> None:
        await layer(snapshotter, "one")
        await layer(snapshotter, "two", "one")
        await snapshotter.prepare(key="a", parent="one")
        await snapshotter.view(key="v", parent="one")
        for key in ("a", "two", "v"):
            with pytest.raises(
                FailedPrecondition, match=r"^cannot remove snapshot with child"
            ):
                await snapshotter.remove(key="one")
            await snapshotter.remove(key=key)
        await snapshotter.remove(key="one")
        assert await names(snapshotter) == []
        with pytest.raises(NotFound, match=r"^snapshot one does not exist: not found$"):
            await snapshotter.remove(key="one")

    async def test_a_removed_key_can_be_used_again(
        self, snapshotter: Snapshotter
    ) -> None:
        write(await snapshotter.prepare(key="a"), x="1")
        await snapshotter.remove(key="a")
        await snapshotter.cleanup()
        assert files(await snapshotter.prepare(key="a")) == {}

    async def test_cleanup_takes_nothing_that_exists(
        self, snapshotter: Snapshotter
    ) -> None:
        await layer(snapshotter, "one", x="1")
        mounts = await snapshotter.prepare(key="a", parent="one")
        await snapshotter.cleanup()
        assert files(mounts) == {"x": "1"}
        assert await names(snapshotter) == ["a", "one"]
