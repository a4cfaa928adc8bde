# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The layers below an overlay's upper directory, looked at without mounting it.

What is written to the upper directory alone must come out as if it were written to
the mounted file system: a directory that the layer does not mention keeps its owner
and mode, and a symbolic link of a lower layer leads where it leads.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass

from .names import Parts

PATH = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def is_whiteout(found: os.stat_result) -> bool:
    """How overlay marks a deleted name."""
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


@dataclass(frozen=True)
class Found:
    """What the layers below show under a name. parent: a descriptor of its directory,
    the receiver closes it."""

    parent: int
    name: bytes
    stat: os.stat_result


class Lowers:
    """directories: the nearest first. opaque: the attribute that hides what is below."""

    def __init__(self, directories: list[str], opaque: str) -> None:
        self.opaque = opaque
        self._fds: list[int] = []
        for directory in directories:
            self._fds.append(os.open(directory, os.O_RDONLY | os.O_DIRECTORY))

    def close(self) -> None:
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()

    def root(self) -> os.stat_result | None:
        """The root of the nearest layer."""
        return os.fstat(self._fds[0]) if self._fds else None

    def root_names(self) -> set[bytes]:
        """The names at the root, those of deleted files among them."""
        return {os.fsencode(name) for fd in self._fds for name in os.listdir(fd)}

    def find(self, path: Parts) -> Found | None:
        """What the layers below show under a path of real directories."""
        for root in self._fds:
            found, hides = self._look(root, path)
            if found is not None or hides:
                return found
        return None

    def _look(self, root: int, path: Parts) -> tuple[Found | None, bool]:
        """What one layer has, and whether it hides what the ones below it have."""
        hides = False
        fd = os.dup(root)
        try:
            for number, name in enumerate(path):
                try:
                    here = os.stat(name, dir_fd=fd, follow_symlinks=False)
                except FileNotFoundError:
                    return None, hides
                if is_whiteout(here):
                    return None, True
                if number == len(path) - 1:
                    return Found(os.dup(fd), name, here), hides
                if not stat.S_ISDIR(here.st_mode):
                    return None, True
                below = os.open(name, DIRECTORY, dir_fd=fd)
                os.close(fd)
                fd = below
                hides = hides or self._is_opaque(fd)
        finally:
            os.close(fd)
        return None, hides

    def _is_opaque(self, fd: int) -> bool:
        with suppress(OSError):
            return os.getxattr(fd, self.opaque) == b"y"
        return False
