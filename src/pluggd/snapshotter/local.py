# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A snapshotter in directories of a local file system.

What exists is in memory as well as in the directories' records; it changes in the trio
thread, after the disk did. Keys that are being worked on are reserved, parents that are
being copied from are pinned, so that nothing needs to be locked while bytes move.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import trio

from pluggd.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PluggdError,
    Unavailable,
)
from pluggd.model.fieldmask import check_fields, masked_map
from pluggd.model.labels import without_empty
from pluggd.model.record import replace
from pluggd.model.types import Mount
from pluggd.services.fsck import Finding
from pluggd.services.snapshots import SnapshotInfo, SnapshotKind, Usage
from pluggd.snapshotter.checking import check_directories
from pluggd.snapshotter.directories import (
    NEW,
    OLD,
    Directories,
    StoredSnapshot,
    number_of,
)
from pluggd.snapshotter.failures import failing_as
from pluggd.snapshotter.layout import Layout
from pluggd.snapshotter.usage import TreeUsage, tree_usage
from pluggd.struct import Struct

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


class Entry(Struct, frozen=True):
    """A snapshot and the number of its directory."""

    number: int
    stored: StoredSnapshot


class LocalSnapshotter:
    """See `pluggd.services.snapshots.Snapshotter` for what the methods promise.

    sync: make the bytes of a snapshot durable when it is committed; without, a power
    failure soon after may leave empty files in it. Call `load` before anything else.
    """

    def __init__(self, root: Path, layout: Layout, log: Log, *, sync: bool) -> None:
        self._directories = Directories(root)
        self._layout = layout
        self._log = log
        self._sync = sync
        self._entries: dict[str, Entry] = {}
        self._children: Counter[str] = Counter()
        self._reserved: set[str] = set()
        self._removing: set[str] = set()
        self._pinned: Counter[str] = Counter()
        self._working: set[int] = set()
        self._last = 0

    async def load(self) -> None:
        """Read what is there. Raises DataLoss for a record that cannot be read."""
        with failing_as(f"read {self._directories.path}"):
            found, self._last = await trio.to_thread.run_sync(self._read)
        for entry in found:
            self._add(entry)

    # --- what there is

    async def stat(self, *, key: str) -> SnapshotInfo:
        await trio.lowlevel.checkpoint()
        return _info(self._entry(key).stored)

    async def walk(self) -> list[SnapshotInfo]:
        await trio.lowlevel.checkpoint()
        keys = sorted(self._entries, key=lambda key: key.encode())
        return [_info(self._entries[key].stored) for key in keys]

    async def mounts(self, *, key: str) -> list[Mount]:
        await trio.lowlevel.checkpoint()
        entry = self._entry(key)
        if entry.stored.kind == "committed":
            raise FailedPrecondition(
                f"failed to get snapshot mount: requested snapshot {key} not active or "
                "view: prepare or view a child of it: failed precondition"
            )
        return self._mounts(entry)

    async def usage(self, *, key: str) -> Usage:
        entry = self._entry(key)
        stored = entry.stored
        if stored.kind == "view":
            return Usage()
        if stored.kind == "committed":
            return Usage(size=stored.size, inodes=stored.inodes)
        with failing_as(f'measure snapshot "{key}"'):
            measured = await trio.to_thread.run_sync(self._measure, entry.number)
        return Usage(size=measured.size, inodes=measured.inodes)

    # --- changes

    async def prepare(
        self, *, key: str, parent: str = "", labels: Mapping[str, str] = {}
    ) -> list[Mount]:
        return await self._create("active", key, parent, labels)

    async def view(
        self, *, key: str, parent: str = "", labels: Mapping[str, str] = {}
    ) -> list[Mount]:
        return await self._create("view", key, parent, labels)

    async def commit(
        self, *, name: str, key: str, labels: Mapping[str, str] = {}
    ) -> Usage:
        entry = self._entry(key)
        if entry.stored.kind != "active":
            raise FailedPrecondition(
                f'failed to commit snapshot: snapshot "{key}" is not active: '
                "failed precondition"
            )
        with self._using(key), self._reserving(name):
            with failing_as(f'commit snapshot "{key}"'):
                stored = await trio.to_thread.run_sync(
                    self._fix, entry, name, dict(labels)
                )
            self._forget(key)
            self._add(Entry(entry.number, stored))
        return Usage(size=stored.size, inodes=stored.inodes)

    async def update(
        self, *, info: SnapshotInfo, fields: Sequence[str] = ()
    ) -> SnapshotInfo:
        check_fields(fields, maps=("labels",), what=f'snapshot "{info.name}"')
        entry = self._entry(info.name)
        with self._using(info.name):
            labels = (
                masked_map(entry.stored.labels, info.labels, fields, "labels")
                if fields
                else without_empty(info.labels)
            )
            stored = replace(entry.stored, labels=labels, updated_at=time.time_ns())
            with failing_as(f'update snapshot "{info.name}"'):
                await trio.to_thread.run_sync(
                    self._directories.replace, entry.number, stored
                )
            self._entries[info.name] = Entry(entry.number, stored)
        return _info(stored)

    async def remove(self, *, key: str) -> int:
        entry = self._entry(key)
        if self._children[key] or self._pinned[key]:
            raise FailedPrecondition(
                f'cannot remove snapshot with child: "{key}": failed precondition'
            )
        with self._using(key):
            self._removing.add(key)
            try:
                with failing_as(f'remove snapshot "{key}"'):
                    await trio.to_thread.run_sync(
                        self._directories.retire, entry.number
                    )
                self._forget(key)
            finally:
                self._removing.discard(key)
        return await self._discard(f"{OLD}{entry.number}")

    async def cleanup(self) -> int:
        freed = 0
        for name in await trio.to_thread.run_sync(self._directories.names):
            number = number_of(name)
            if name.startswith((NEW, OLD)) and number not in self._working:
                freed += await self._discard(name)
        return freed

    async def check(self, *, deep: bool, repair: bool) -> list[Finding]:
        def known() -> dict[int, StoredSnapshot]:
            return {one.number: one.stored for one in self._entries.values()}

        def busy() -> set[int]:
            reserved = [self._entries.get(key) for key in self._reserved]
            return self._working | {one.number for one in reserved if one}

        return await check_directories(
            self._directories,
            known,
            busy,
            self._layout.names,
            deep=deep,
            repair=repair,
        )

    # --- in the trio thread

    async def _create(
        self, kind: SnapshotKind, key: str, parent: str, labels: Mapping[str, str]
    ) -> list[Mount]:
        with self._reserving(key):
            if parent in self._removing:
                raise _no_parent(parent)
            parents = self._lineage(parent)
            now = time.time_ns()
            stored = StoredSnapshot(
                key=key,
                kind=kind,
                parent=parent,
                labels=without_empty(labels),
                created_at=now,
                updated_at=now,
            )
            self._last += 1
            entry = Entry(self._last, stored)
            self._pinned[parent] += 1
            self._working.add(entry.number)
            try:
                with failing_as(f'create snapshot "{key}"'):
                    await trio.to_thread.run_sync(self._make, entry, parents)
                self._add(entry)
            finally:
                self._working.discard(entry.number)
                self._pinned[parent] -= 1
        return self._mounts(entry)

    async def _discard(self, name: str) -> int:
        """Remove a directory's bytes; what resists is left to the next cleanup."""
        number = number_of(name) or 0
        self._working.add(number)
        try:
            with failing_as(f"remove {self._directories.path}/{name}"):
                return await trio.to_thread.run_sync(self._directories.discard, name)
        except PluggdError as error:
            self._log.warning("%s; the next cleanup tries again", error)
            return 0
        finally:
            self._working.discard(number)

    def _entry(self, key: str) -> Entry:
        entry = self._entries.get(key)
        if entry is None:
            raise NotFound(f"snapshot {key} does not exist: not found")
        return entry

    def _lineage(self, parent: str) -> list[str]:
        """The directories of a parent and its parents, nearest first."""
        found: list[str] = []
        key = parent
        while key:
            entry = self._entries.get(key)
            if entry is None:
                raise _no_parent(key)
            if entry.stored.kind != "committed":
                raise InvalidArgument(
                    f'failed to create snapshot: parent "{key}" is not committed '
                    "snapshot: commit it first: invalid argument"
                )
            found.append(self._directories.of(entry.number))
            key = entry.stored.parent
        return found

    def _mounts(self, entry: Entry) -> list[Mount]:
        directory = self._directories.of(entry.number)
        parents = self._lineage(entry.stored.parent)
        return self._layout.mounts(directory, entry.stored.kind, parents)

    def _add(self, entry: Entry) -> None:
        self._entries[entry.stored.key] = entry
        self._children[entry.stored.parent] += 1

    def _forget(self, key: str) -> None:
        entry = self._entries.pop(key)
        self._children[entry.stored.parent] -= 1
        self._children.pop(key, None)
        if not self._children[entry.stored.parent]:
            del self._children[entry.stored.parent]

    @contextmanager
    def _reserving(self, key: str) -> Generator[None]:
        """A key is about to come into being."""
        if not key:
            raise InvalidArgument("snapshot key must not be empty: invalid argument")
        if key in self._entries or key in self._reserved:
            raise AlreadyExists(f'snapshot "{key}": already exists')
        with self._holding(key):
            yield

    @contextmanager
    def _using(self, key: str) -> Generator[None]:
        """An existing key is about to change."""
        if key in self._reserved:
            raise _busy(key)
        with self._holding(key):
            yield

    @contextmanager
    def _holding(self, key: str) -> Generator[None]:
        self._reserved.add(key)
        try:
            yield
        finally:
            self._reserved.discard(key)

    # --- in a thread

    def _read(self) -> tuple[list[Entry], int]:
        self._directories.prepare()
        found: list[Entry] = []
        last = 0
        for name in self._directories.names():
            number = number_of(name)
            if number is None:
                continue
            last = max(last, number)
            if name == str(number):
                self._directories.tidy(number)
                found.append(Entry(number, self._directories.read(number)))
        return found, last

    def _make(self, entry: Entry, parents: Sequence[str]) -> None:
        def fill(directory: str) -> None:
            self._layout.create(
                directory, entry.stored.kind, parents, trio.from_thread.check_cancelled
            )

        self._directories.make(entry.number, entry.stored, fill)

    def _fix(self, entry: Entry, name: str, labels: dict[str, str]) -> StoredSnapshot:
        # First the bytes, then their count: blocks are only allocated when written.
        if self._sync:
            self._directories.flush(entry.number)
        measured = self._measure(entry.number)
        now = time.time_ns()
        stored = replace(
            entry.stored,
            key=name,
            kind="committed",
            labels=without_empty(labels),
            created_at=now,
            updated_at=now,
            size=measured.size,
            inodes=measured.inodes,
            length=measured.length,
        )
        self._directories.replace(entry.number, stored)
        return stored

    def _measure(self, number: int) -> TreeUsage:
        return tree_usage(f"{self._directories.of(number)}/fs")


def _info(stored: StoredSnapshot) -> SnapshotInfo:
    return SnapshotInfo(
        kind=stored.kind,
        name=stored.key,
        parent=stored.parent,
        labels=stored.labels,
        created_at=stored.created_at,
        updated_at=stored.updated_at,
    )


def _no_parent(key: str) -> NotFound:
    return NotFound(f"parent snapshot {key} does not exist: not found")


def _busy(key: str) -> Unavailable:
    return Unavailable(
        f'snapshot "{key}" is being changed by another call; try again: unavailable'
    )
