# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""One directory for each snapshot, which comes and goes by a rename.

    <root>/snapshots/<number>/record   what is known of it
    <root>/snapshots/<number>/...      its bytes, as the layout has them
    <root>/snapshots/new-<number>      being made
    <root>/snapshots/rm-<number>       being removed

There is no other state, so there is nothing that a kill could make disagree: a
directory has its number if and only if its snapshot exists, and its record is replaced
by a rename, too. Everything here blocks.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pluggd.errors import DataLoss
from pluggd.model.record import Record, decode, encode
from pluggd.mount.syscalls import syncfs
from pluggd.services.snapshots import SnapshotKind
from pluggd.snapshotter.usage import tree_usage

NEW = "new-"
OLD = "rm-"
_RECORD = "record"


class StoredSnapshot(Record, frozen=True):
    """What a directory's record says. parent: the key of one. The last three are those
    of the commit: bytes on the disk, inodes, and bytes as they read."""

    key: str = ""
    kind: SnapshotKind = "active"
    parent: str = ""
    labels: dict[str, str] = {}
    created_at: int = 0
    updated_at: int = 0
    size: int = 0
    inodes: int = 0
    length: int = 0


class Directories:
    """The directories below one root."""

    def __init__(self, root: Path) -> None:
        self.path = str(root / "snapshots")

    def prepare(self) -> None:
        os.makedirs(self.path, mode=0o700, exist_ok=True)
        sync_directory(os.path.dirname(self.path))

    def of(self, number: int) -> str:
        return f"{self.path}/{number}"

    def make(
        self, number: int, record: StoredSnapshot, fill: Callable[[str], None]
    ) -> None:
        """A new directory, filled and then durably there; or nothing, on any error."""
        temporary = f"{self.path}/{NEW}{number}"
        try:
            os.mkdir(temporary, 0o700)
            fill(temporary)
            self._write(temporary, record)
            os.rename(temporary, self.of(number))
            sync_directory(self.path)
        except BaseException:
            remove_tree(temporary)
            raise

    def replace(self, number: int, record: StoredSnapshot) -> None:
        """Another record for a directory, durably."""
        self._write(self.of(number), record)

    def retire(self, number: int) -> None:
        """The snapshot is gone, durably; its bytes are for `discard`."""
        with suppress(FileNotFoundError):  # then somebody else removed them already
            os.rename(self.of(number), f"{self.path}/{OLD}{number}")
        sync_directory(self.path)

    def discard(self, name: str) -> int:
        """Remove the bytes of a directory that is no snapshot's; how many."""
        path = f"{self.path}/{name}"
        freed = tree_usage(path).size
        remove_tree(path)
        return freed

    def flush(self, number: int) -> None:
        """Make all that was written below a directory durable."""
        fd = os.open(self.of(number), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            syncfs(fd)
        finally:
            os.close(fd)

    def names(self) -> list[str]:
        return os.listdir(self.path)

    def strangers(self, number: int, own: frozenset[str]) -> list[str]:
        """Names in a directory that are neither the layout's own nor the record."""
        found = os.listdir(self.of(number))
        own |= {_RECORD, f"{_RECORD}.new"}
        return sorted(name for name in found if name not in own)

    def tidy(self, number: int) -> None:
        """Remove a record that a kill kept from taking its place."""
        with suppress(FileNotFoundError):
            os.unlink(f"{self.of(number)}/{_RECORD}.new")

    def read(self, number: int) -> StoredSnapshot:
        """Raises DataLoss for a record that cannot be read, FileNotFoundError."""
        with open(f"{self.of(number)}/{_RECORD}", "rb") as stream:
            stored = decode(stream.read(), StoredSnapshot)
        if not stored.key:
            raise DataLoss(f"{self.of(number)}/{_RECORD} names no snapshot")
        return stored

    def _write(self, directory: str, record: StoredSnapshot) -> None:
        temporary = f"{directory}/{_RECORD}.new"
        with open(temporary, "wb") as stream:
            stream.write(encode(record))
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(temporary, f"{directory}/{_RECORD}")
        sync_directory(directory)


def number_of(name: str) -> int | None:
    """The number in the name of a directory of any of the three forms."""
    for prefix in (NEW, OLD):
        name = name.removeprefix(prefix)
    # isdecimal alone would take other scripts' digits, and "01" is not ours either.
    return (
        int(name)
        if name.isascii() and name.isdecimal() and str(int(name)) == name
        else None
    )


def sync_directory(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def remove_tree(path: str) -> None:
    """Remove a directory with all below it, or anything else, if it is there."""
    # shutil opens what it is given: a pipe would make it wait for a writer.
    if os.path.islink(path) or not os.path.isdir(path):
        with suppress(FileNotFoundError):
            os.unlink(path)
        return
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        if os.path.lexists(path):
            shutil.rmtree(path)
    except PermissionError:
        # Without privileges, a directory that its owner may not write to.
        for directory, names, _ in os.walk(path):
            for name in names:
                child = f"{directory}/{name}"
                if not os.path.islink(child):
                    with suppress(FileNotFoundError):
                        os.chmod(child, 0o700)
        shutil.rmtree(path)
