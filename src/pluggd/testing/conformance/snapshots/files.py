# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is in a snapshot."""

from __future__ import annotations

import os

from pluggd.mount import mounted
from pluggd.services.snapshots import Snapshotter
from pluggd.testing.conformance.base import Conformance, needs
from pluggd.testing.conformance.snapshots.kit import files, layer, write


class Files(Conformance):
    """What is in a snapshot."""

    async def test_an_active_snapshot_is_empty_and_can_be_written(
        self, snapshotter: Snapshotter
    ) -> None:
        mounts = await snapshotter.prepare(key="a")
        assert files(mounts) == {}
        write(mounts, x="1")
        assert files(await snapshotter.mounts(key="a")) == {"x": "1"}

    async def test_a_child_has_the_files_of_its_parents(
        self, snapshotter: Snapshotter
    ) -> None:
        await layer(snapshotter, "one", x="1", y="1")
        await layer(snapshotter, "two", "one", y="2", z="2")
        assert files(await snapshotter.prepare(key="c", parent="two")) == {
            "x": "1",
            "y": "2",
            "z": "2",
        }
        assert files(await snapshotter.prepare(key="d", parent="one")) == {
            "x": "1",
            "y": "1",
        }

    async def test_a_removed_file_is_gone_in_children_alone(
        self, snapshotter: Snapshotter
    ) -> None:
        await layer(snapshotter, "one", x="1", y="1")
        mounts = await snapshotter.prepare(key="a", parent="one")
        with mounted(mounts) as root:
            os.unlink(f"{root}/x")
        await snapshotter.commit(name="two", key="a")
        assert files(await snapshotter.view(key="v", parent="two")) == {"y": "1"}
        assert files(await snapshotter.view(key="w", parent="one")) == {
            "x": "1",
            "y": "1",
        }

    async def test_siblings_do_not_see_each_other(
        self, snapshotter: Snapshotter
    ) -> None:
        await layer(snapshotter, "one", x="1")
        first = await snapshotter.prepare(key="a", parent="one")
        second = await snapshotter.prepare(key="b", parent="one")
        write(first, x="a", a="a")
        write(second, x="b")
        assert files(first) == {"a": "a", "x": "a"}
        assert files(second) == {"x": "b"}
        assert files(await snapshotter.view(key="v", parent="one")) == {"x": "1"}

    async def test_a_view_shows_all_layers_and_cannot_be_written(
        self, snapshotter: Snapshotter
    ) -> None:
        await layer(snapshotter, "one", x="1")
        await layer(snapshotter, "two", "one", y="2")
        mounts = await snapshotter.view(key="v", parent="two")
        assert files(mounts) == {"x": "1", "y": "2"}
        assert await snapshotter.mounts(key="v") == mounts
        assert "ro" in mounts[0].options or not any(
            option.startswith("upperdir=") for option in mounts[0].options
        )
        assert (await snapshotter.stat(key="v")).kind == "view"

    async def test_owners_modes_and_times_go_to_the_child(
        self, snapshotter: Snapshotter
    ) -> None:
        mounts = await snapshotter.prepare(key="a")
        with mounted(mounts) as root:
            os.mkdir(f"{root}/d", 0o700)
            with open(f"{root}/d/f", "w") as stream:  # noqa: ASYNC230
                stream.write("text")
            os.chmod(f"{root}/d/f", 0o4751)
            os.symlink("/etc/passwd", f"{root}/l")
            os.utime(f"{root}/d/f", ns=(10**18, 10**18 + 7))
            os.chmod(root, 0o711)
        await snapshotter.commit(name="one", key="a")
        with mounted(await snapshotter.prepare(key="b", parent="one")) as root:
            assert os.stat(f"{root}/d").st_mode & 0o7777 == 0o700
            status = os.stat(f"{root}/d/f")
            assert status.st_mode & 0o7777 == 0o4751
            assert status.st_mtime_ns == 10**18 + 7
            assert os.readlink(f"{root}/l") == "/etc/passwd"
            assert os.stat(root).st_mode & 0o7777 == 0o711

    @needs("hard_links")
    async def test_two_names_of_one_file_are_so_in_a_child(
        self, snapshotter: Snapshotter
    ) -> None:
        mounts = await snapshotter.prepare(key="a")
        write(mounts, f="text")
        with mounted(mounts) as root:
            os.link(f"{root}/f", f"{root}/g")
        await snapshotter.commit(name="one", key="a")
        with mounted(await snapshotter.prepare(key="b", parent="one")) as root:
            assert os.stat(f"{root}/f").st_ino == os.stat(f"{root}/g").st_ino
