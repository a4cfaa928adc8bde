# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What differs between two trees, in the order in which a layer lists it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from pluggd.errors import FailedPrecondition, InvalidArgument

from .entries import shown
from .lowers import DIRECTORY
from .names import WHITEOUT, Parts

CHUNK = 1 << 20
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(slots=True)
class Changes:
    """Real paths. changed: what is new or different, and the directories above.
    deleted: what is gone. links: the first name of a file for each of its others."""

    changed: set[Parts] = field(default_factory=set[Parts])
    deleted: set[Parts] = field(default_factory=set[Parts])
    links: dict[Parts, Parts] = field(default_factory=dict[Parts, Parts])

    def in_order(self) -> Iterator[tuple[Parts, bool]]:
        """Every path, parents first, and whether it is gone."""
        for path in sorted(self.changed | self.deleted):
            yield path, path in self.deleted


def changes(upper: int, lower: int | None) -> Changes:
    """Compare the trees below two directories; without a lower one all is new."""
    found = Changes()
    files: dict[tuple[int, int], list[Parts]] = {}
    pending: list[tuple[Parts, int, int | None]] = [((), os.dup(upper), lower)]
    if lower is not None:
        pending[0] = ((), os.dup(upper), os.dup(lower))
    try:
        while pending:
            path, above, below = pending.pop()
            try:
                pending += _compare(path, above, below, found, files)
            finally:
                os.close(above)
                if below is not None:
                    os.close(below)
    finally:
        for _, above, below in pending:
            os.close(above)
            if below is not None:
                os.close(below)
    for names in files.values():
        if any(name in found.changed for name in names):
            first, *others = sorted(names)
            found.changed.update(names)
            found.links.update(dict.fromkeys(others, first))
    for path in list(found.changed) + list(found.deleted):
        while (path := path[:-1]) and path not in found.changed:
            found.changed.add(path)
    return found


def _compare(
    path: Parts,
    above: int,
    below: int | None,
    found: Changes,
    files: dict[tuple[int, int], list[Parts]],
) -> list[tuple[Parts, int, int | None]]:
    """Compare two directories; the pairs of directories in them."""
    deeper: list[tuple[Parts, int, int | None]] = []
    before = _listing(below) if below is not None else {}
    for name, here in _listing(above).items():
        if name.startswith(WHITEOUT):
            raise InvalidArgument(
                f"{shown(b'/'.join((*path, name)))}: a layer cannot hold names that begin "
                "with .wh., which mark deletions: invalid argument"
            )
        if stat.S_ISSOCK(here.st_mode):
            continue  # of no use without the process that listens
        full = (*path, name)
        old = before.pop(name, None)
        is_directory = stat.S_ISDIR(here.st_mode)
        if not is_directory and here.st_nlink > 1:
            files.setdefault((here.st_dev, here.st_ino), []).append(full)
        if old is None or not _same(name, above, here, below, old):
            found.changed.add(full)
        if is_directory:
            inner = _open(name, above, full)
            lower = None
            if old is not None and stat.S_ISDIR(old.st_mode):
                assert below is not None
                lower = os.open(name, DIRECTORY, dir_fd=below)
            deeper.append((full, inner, lower))
    found.deleted.update((*path, name) for name in before)
    return deeper


def _open(name: bytes, parent: int, path: Parts) -> int:
    try:
        return os.open(name, DIRECTORY, dir_fd=parent)
    except (FileNotFoundError, NotADirectoryError):
        raise moving(path) from None


def moving(path: Parts) -> FailedPrecondition:
    return FailedPrecondition(
        f"{shown(b'/'.join(path))} changed while it was read; stop or pause what writes "
        "there: failed precondition"
    )


def _listing(fd: int) -> dict[bytes, os.stat_result]:
    found: dict[bytes, os.stat_result] = {}
    with os.scandir(fd) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                found[os.fsencode(entry.name)] = entry.stat(follow_symlinks=False)
    return found


def _same(
    name: bytes,
    above: int,
    here: os.stat_result,
    below: int | None,
    old: os.stat_result,
) -> bool:
    """containerd's rule: owner, mode, attributes; of files also size and time, and
    their bytes where a time is of whole seconds, as those from layers are."""
    assert below is not None
    if (here.st_dev, here.st_ino) == (old.st_dev, old.st_ino):
        return True
    if (here.st_mode, here.st_uid, here.st_gid, here.st_rdev) != (
        old.st_mode,
        old.st_uid,
        old.st_gid,
        old.st_rdev,
    ):
        return False
    if attributes(above, name) != attributes(below, name):
        return False
    if stat.S_ISDIR(here.st_mode):
        return True
    if here.st_size != old.st_size or here.st_mtime_ns != old.st_mtime_ns:
        whole = min(here.st_mtime_ns % 10**9, old.st_mtime_ns % 10**9) == 0
        seconds = here.st_mtime_ns // 10**9 == old.st_mtime_ns // 10**9
        if here.st_size != old.st_size or not (whole and seconds):
            return False
    elif here.st_mtime_ns % 10**9:
        return True
    if stat.S_ISLNK(here.st_mode):
        return os.readlink(name, dir_fd=above) == os.readlink(name, dir_fd=below)
    if stat.S_ISREG(here.st_mode) and here.st_size:
        return _same_bytes(name, above, below)
    return True


def _same_bytes(name: bytes, above: int, below: int) -> bool:
    one = os.open(name, FILE, dir_fd=above)
    try:
        other = os.open(name, FILE, dir_fd=below)
        try:
            while True:
                data = os.read(one, CHUNK)
                if data != os.read(other, CHUNK):
                    return False
                if not data:
                    return True
        finally:
            os.close(other)
    finally:
        os.close(one)


def attributes(parent: int, name: bytes) -> dict[str, bytes]:
    """The extended attributes that a layer keeps: capabilities, and the users' own."""
    path = f"/proc/self/fd/{parent}/{os.fsdecode(name)}"
    found: dict[str, bytes] = {}
    with suppress(OSError):
        for key in os.listxattr(path, follow_symlinks=False):
            if key == "security.capability" or (
                key.startswith("user.") and not key.startswith("user.overlay.")
            ):
                with suppress(OSError):
                    found[key] = os.getxattr(path, key, follow_symlinks=False)
    return found
