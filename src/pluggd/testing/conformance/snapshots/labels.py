# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Labels and usage."""

from __future__ import annotations

import os

import pytest

from pluggd.errors import (
    InvalidArgument,
    NotFound,
)
from pluggd.mount import mounted
from pluggd.services.snapshots import SnapshotInfo, Snapshotter, Usage
from pluggd.testing.conformance.base import Conformance, needs
from pluggd.testing.conformance.snapshots.kit import write


class Labels(Conformance):
    """Labels and usage."""

    async def test_labels_are_replaced_or_changed_one_by_one(
        self, snapshotter: Snapshotter
    ) -> None:
        x, y = "containerd.io/snapshot/x", "containerd.io/snapshot/y"
        await snapshotter.prepare(key="a", labels={x: "1", y: ""})
        before = await snapshotter.stat(key="a")
        assert before.labels == {x: "1"}
        asked = SnapshotInfo(name="a", parent="zz", labels={y: "2"})
        changed = await snapshotter.update(info=asked, fields=[f"labels.{y}"])
        assert changed.labels == {x: "1", y: "2"}
        assert changed.created_at == before.created_at
        assert changed.updated_at > before.updated_at
        assert (await snapshotter.update(info=asked)).labels == {y: "2"}
        changed = await snapshotter.update(
            info=SnapshotInfo(name="a"), fields=[f"labels.{y}"]
        )
        assert changed.labels == {}
        assert await snapshotter.stat(key="a") == changed
        assert changed.parent == ""
        for field in ("parent", "kind", "name"):
            with pytest.raises(InvalidArgument, match=f'"{field}"'):
                await snapshotter.update(info=asked, fields=[field])
        with pytest.raises(NotFound):
            await snapshotter.update(info=SnapshotInfo(name="zz"))

    async def test_usage_grows_with_what_is_written(
        self, snapshotter: Snapshotter
    ) -> None:
        mounts = await snapshotter.prepare(key="a")
        empty = await snapshotter.usage(key="a")
        assert empty.inodes == 1
        write(mounts, x="x" * 100_000, y="1")
        with mounted(mounts):
            os.sync()
        used = await snapshotter.usage(key="a")
        assert used.inodes == 3
        assert used.size >= empty.size + 100_000
        committed = await snapshotter.commit(name="one", key="a")
        assert committed == await snapshotter.usage(key="one")
        assert committed.inodes == 3
        await snapshotter.view(key="v", parent="one")
        assert await snapshotter.usage(key="v") == Usage()
        with pytest.raises(NotFound):
            await snapshotter.usage(key="zz")

    @needs("hard_links")
    async def test_a_file_with_two_names_counts_once(
        self, snapshotter: Snapshotter
    ) -> None:
        mounts = await snapshotter.prepare(key="a")
        write(mounts, x="x" * 100_000)
        with mounted(mounts) as root:
            os.sync()
            before = await snapshotter.usage(key="a")
            os.link(f"{root}/x", f"{root}/z")
            os.sync()
        after = await snapshotter.usage(key="a")
        assert after.inodes == before.inodes
        assert after.size < before.size + 100_000
