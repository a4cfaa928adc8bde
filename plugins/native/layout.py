# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Snapshots as whole copies: `fs` is the file system, whatever the parents had."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from pluggd.model.types import Mount
from pluggd.services.snapshots import SnapshotKind

from .copying import copy_tree


class NativeLayout:
    """See `pluggd.snapshotter.Layout`. A view of a parent has no bytes of its own."""

    names = frozenset({"fs"})

    def create(
        self,
        directory: str,
        kind: SnapshotKind,
        parents: Sequence[str],
        pause: Callable[[], None],
    ) -> None:
        target = f"{directory}/fs"
        os.mkdir(target)
        os.chmod(target, 0o755)
        if parents and kind == "active":
            copy_tree(f"{parents[0]}/fs", target, pause)

    def mounts(
        self, directory: str, kind: SnapshotKind, parents: Sequence[str]
    ) -> list[Mount]:
        source = parents[0] if parents and kind == "view" else directory
        access = "ro" if kind == "view" else "rw"
        return [Mount(type="bind", source=f"{source}/fs", options=["rbind", access])]
