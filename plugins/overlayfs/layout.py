# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Snapshots as layers: `fs` has what differs from the parents, and overlayfs joins them."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence

from pluggd.model.types import Mount
from pluggd.services.snapshots import SnapshotKind


class OverlayLayout:
    """See `pluggd.snapshotter.Layout`. options: come first in each overlay mount."""

    names = frozenset({"fs", "work"})

    def __init__(self, options: Sequence[str] = ()) -> None:
        self._options = tuple(options)

    def create(
        self,
        directory: str,
        kind: SnapshotKind,
        parents: Sequence[str],
        pause: Callable[[], None],
    ) -> None:
        del pause
        files = f"{directory}/fs"
        os.mkdir(files)
        os.chmod(files, 0o755)
        if parents:
            # The upper directory's attributes are those of the whole root.
            above = os.lstat(f"{parents[0]}/fs")
            mine = os.lstat(files)
            if (above.st_uid, above.st_gid) != (mine.st_uid, mine.st_gid):
                os.chown(files, above.st_uid, above.st_gid)
            os.chmod(files, stat.S_IMODE(above.st_mode))
        if kind == "active":
            os.mkdir(f"{directory}/work")
            os.chmod(f"{directory}/work", 0o711)

    def mounts(
        self, directory: str, kind: SnapshotKind, parents: Sequence[str]
    ) -> list[Mount]:
        if not parents:
            return [_bind(f"{directory}/fs", "ro" if kind == "view" else "rw")]
        if kind == "view" and len(parents) == 1:
            return [_bind(f"{parents[0]}/fs", "ro")]
        options = [*self._options]
        if kind == "active":
            options += [f"workdir={directory}/work", f"upperdir={directory}/fs"]
        options.append("lowerdir=" + ":".join(f"{parent}/fs" for parent in parents))
        return [Mount(type="overlay", source="overlay", options=options)]


def _bind(source: str, access: str) -> Mount:
    return Mount(type="bind", source=source, options=[access, "rbind"])
