# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Compare the directories of a snapshotter with what it knows, while it is in use."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import trio

from pluggd.errors import DataLoss
from pluggd.model.record import replace
from pluggd.services.fsck import Finding, Problem
from pluggd.snapshotter.directories import (
    Directories,
    StoredSnapshot,
    number_of,
    remove_tree,
)
from pluggd.snapshotter.usage import tree_usage

Known = Callable[[], Mapping[int, StoredSnapshot]]


async def check_directories(
    directories: Directories,
    known: Known,
    busy: Callable[[], set[int]],
    own: frozenset[str],
    *,
    deep: bool,
    repair: bool,
) -> list[Finding]:
    """known: the snapshots by number of their directory. busy: numbers being worked on.
    own: names of the layout."""
    found: list[Finding] = []
    for name in sorted(await trio.to_thread.run_sync(directories.names)):
        finding = await _stray(directories, name, known, busy)
        if finding is not None:
            if repair:
                await trio.to_thread.run_sync(directories.discard, name)
            found.append(_with(finding, repaired=repair))
    for number in sorted(known()):
        stored = known().get(number)
        if stored is None or number in busy():
            continue
        finding = await trio.to_thread.run_sync(
            _wrong, directories, number, stored, deep
        )
        strangers = await trio.to_thread.run_sync(
            _strangers, directories, number, own, repair
        )
        # Only if it is still the same: it may have gone, or changed, meanwhile.
        if known().get(number) is stored and number not in busy():
            found += strangers
            if finding is not None:
                found.append(finding)
    return found


async def _stray(
    directories: Directories, name: str, known: Known, busy: Callable[[], set[int]]
) -> Finding | None:
    """What a name on the disk is that no snapshot explains; None when one does."""
    number = number_of(name)

    def is_explained() -> bool:
        return number is not None and (
            number in busy() or (name == str(number) and number in known())
        )

    if is_explained():
        return None
    path = f"{directories.path}/{name}"
    if not await trio.to_thread.run_sync(os.path.lexists, path) or is_explained():
        return None
    taken = await trio.to_thread.run_sync(tree_usage, path)
    return Finding(
        store="",
        problem="stray",
        path=path,
        meaning="no snapshot has this directory",
        remedy="remove it, or check with --repair",
        bytes=taken.size,
    )


def _strangers(
    directories: Directories, number: int, own: frozenset[str], repair: bool
) -> list[Finding]:
    found: list[Finding] = []
    try:
        names = directories.strangers(number, own)
    except FileNotFoundError:
        return found
    for name in names:
        path = f"{directories.of(number)}/{name}"
        size = tree_usage(path).size
        if repair:
            remove_tree(path)
        found.append(
            Finding(
                store="",
                problem="stray",
                path=path,
                meaning="a snapshot's directory has nothing of this name",
                remedy="remove it, or check with --repair",
                bytes=size,
                repaired=repair,
            )
        )
    return found


def _wrong(
    directories: Directories, number: int, stored: StoredSnapshot, deep: bool
) -> Finding | None:
    path = directories.of(number)
    if not os.path.isdir(path):
        return _finding(
            stored, "missing", path, "the directory of this snapshot is gone", _AGAIN
        )
    if not os.path.isdir(f"{path}/fs"):
        return _finding(stored, "missing", f"{path}/fs", "its files are gone", _AGAIN)
    try:
        if directories.read(number) != stored:
            raise DataLoss("it is not the one that was written")
    except (DataLoss, FileNotFoundError, PermissionError) as error:
        return _finding(
            stored,
            "record",
            f"{path}/record",
            f"the record on the disk is not that of the snapshot: {error}",
            "do not restart before the snapshot is removed: it would not be found again",
        )
    if deep and stored.kind == "committed":
        taken = tree_usage(f"{path}/fs")
        if (taken.inodes, taken.length) != (stored.inodes, stored.length):
            return _finding(
                stored,
                "size",
                f"{path}/fs",
                f"{stored.inodes} files with {stored.length} bytes were committed, "
                f"{taken.inodes} with {taken.length} are there",
                _AGAIN,
            )
    return None


_AGAIN = "remove the snapshot and those above it, and make them again (unpack)"


def _finding(
    stored: StoredSnapshot, problem: Problem, path: str, meaning: str, remedy: str
) -> Finding:
    return Finding(
        store="",
        problem=problem,
        path=path,
        object=stored.key,
        meaning=meaning,
        remedy=remedy,
    )


def _with(finding: Finding, *, repaired: bool) -> Finding:
    return replace(finding, repaired=repaired)
