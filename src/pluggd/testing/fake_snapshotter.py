# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A snapshotter for tests of what uses one: copies in a directory, nothing durable.

It passes the contract suite of snapshotters and keeps its records in memory.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path

from pluggd.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
)
from pluggd.model.fieldmask import check_fields, masked_map
from pluggd.model.labels import without_empty
from pluggd.model.record import replace
from pluggd.model.types import Mount
from pluggd.services.fsck import Finding
from pluggd.services.snapshots import SnapshotInfo, SnapshotKind, Usage
from pluggd.snapshotter.usage import tree_usage


class FakeSnapshotter:
    """See `pluggd.services.snapshots.Snapshotter`. root: an empty directory.

    calls: the names of the methods that were called and the keys, in order. failing: an
    error that the next call of a method raises, by its name.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._numbers = count(1)
        self._infos: dict[str, SnapshotInfo] = {}
        self._paths: dict[str, Path] = {}
        self._usage: dict[str, Usage] = {}
        self.calls: list[tuple[str, str]] = []
        self.failing: dict[str, Exception] = {}

    async def prepare(
        self, *, key: str, parent: str = "", labels: Mapping[str, str] = {}
    ) -> list[Mount]:
        self._called("prepare", key)
        return self._create("active", key, parent, labels)

    async def view(
        self, *, key: str, parent: str = "", labels: Mapping[str, str] = {}
    ) -> list[Mount]:
        self._called("view", key)
        return self._create("view", key, parent, labels)

    async def mounts(self, *, key: str) -> list[Mount]:
        self._called("mounts", key)
        info = self._find(key)
        if info.kind == "committed":
            raise FailedPrecondition(
                f"failed to get snapshot mount: requested snapshot {key} not active or "
                "view: failed precondition"
            )
        return self._mounts(info)

    async def commit(
        self, *, name: str, key: str, labels: Mapping[str, str] = {}
    ) -> Usage:
        self._called("commit", key)
        info = self._find(key)
        if info.kind != "active":
            raise FailedPrecondition(
                f'failed to commit snapshot: snapshot "{key}" is not active: '
                "failed precondition"
            )
        self._refuse(name)
        now = time.time_ns()
        del self._infos[key]
        self._infos[name] = SnapshotInfo(
            kind="committed",
            name=name,
            parent=info.parent,
            labels=without_empty(labels),
            created_at=now,
            updated_at=now,
        )
        self._paths[name] = self._paths.pop(key)
        self._usage[name] = self._measure(name)
        return self._usage[name]

    async def stat(self, *, key: str) -> SnapshotInfo:
        return self._find(key)

    async def update(
        self, *, info: SnapshotInfo, fields: Sequence[str] = ()
    ) -> SnapshotInfo:
        self._called("update", info.name)
        check_fields(fields, maps=("labels",), what=f'snapshot "{info.name}"')
        stored = self._find(info.name)
        labels = (
            masked_map(stored.labels, info.labels, fields, "labels")
            if fields
            else without_empty(info.labels)
        )
        changed = replace(stored, labels=labels, updated_at=time.time_ns())
        self._infos[info.name] = changed
        return changed

    async def walk(self) -> list[SnapshotInfo]:
        return [self._infos[key] for key in sorted(self._infos, key=str.encode)]

    async def remove(self, *, key: str) -> int:
        self._called("remove", key)
        self._find(key)
        if any(info.parent == key for info in self._infos.values()):
            raise FailedPrecondition(
                f'cannot remove snapshot with child: "{key}": failed precondition'
            )
        freed = self._measure(key).size
        shutil.rmtree(self._paths.pop(key))
        del self._infos[key]
        return freed

    async def usage(self, *, key: str) -> Usage:
        info = self._find(key)
        if info.kind == "view":
            return Usage()
        return self._usage[key] if info.kind == "committed" else self._measure(key)

    async def cleanup(self) -> int:
        self._called("cleanup", "")
        return 0

    async def check(self, *, deep: bool, repair: bool) -> list[Finding]:
        return []

    # --- inside

    def _called(self, method: str, key: str) -> None:
        self.calls.append((method, key))
        error = self.failing.pop(method, None)
        if error is not None:
            raise error

    def _create(
        self, kind: SnapshotKind, key: str, parent: str, labels: Mapping[str, str]
    ) -> list[Mount]:
        self._refuse(key)
        path = self._root / str(next(self._numbers))
        above = self._infos.get(parent)
        if parent and above is None:
            raise NotFound(f"parent snapshot {parent} does not exist: not found")
        if above is not None and above.kind != "committed":
            raise InvalidArgument(
                f'failed to create snapshot: parent "{parent}" is not committed '
                "snapshot: invalid argument"
            )
        path.mkdir()
        if parent:
            # With hard links and owners, which shutil does not copy.
            subprocess.run(
                ["cp", "--archive", f"{self._paths[parent]}/.", str(path)], check=True
            )
        now = time.time_ns()
        info = SnapshotInfo(
            kind=kind,
            name=key,
            parent=parent,
            labels=without_empty(labels),
            created_at=now,
            updated_at=now,
        )
        self._infos[key] = info
        self._paths[key] = path
        return self._mounts(info)

    def _mounts(self, info: SnapshotInfo) -> list[Mount]:
        access = "ro" if info.kind == "view" else "rw"
        source = str(self._paths[info.name])
        return [Mount(type="bind", source=source, options=["rbind", access])]

    def _measure(self, key: str) -> Usage:
        measured = tree_usage(str(self._paths[key]))
        return Usage(size=measured.size, inodes=measured.inodes)

    def _refuse(self, key: str) -> None:
        if not key:
            raise InvalidArgument("snapshot key must not be empty: invalid argument")
        if key in self._infos:
            raise AlreadyExists(f'snapshot "{key}": already exists')

    def _find(self, key: str) -> SnapshotInfo:
        info = self._infos.get(key)
        if info is None:
            raise NotFound(f"snapshot {key} does not exist: not found")
        return info
