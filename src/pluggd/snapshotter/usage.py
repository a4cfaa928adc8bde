# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a tree takes on the disk: what du(1) says, and the inodes."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from pluggd.struct import Struct

_BLOCK = 512


class TreeUsage(Struct, frozen=True):
    """size: bytes of the blocks on the disk. length: bytes of the files as they read."""

    size: int = 0
    inodes: int = 0
    length: int = 0


def tree_usage(path: str, pause: Callable[[], None] = lambda: None) -> TreeUsage:
    """Of a directory and all below it, each inode once; nothing for what is not there.

    What vanishes meanwhile is not counted. `pause` is called between directories and
    may raise.
    """
    size = length = 0
    seen: set[tuple[int, int]] = set()
    waiting = [path]
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return TreeUsage()
    seen.add((status.st_dev, status.st_ino))
    size = status.st_blocks * _BLOCK
    while waiting:
        pause()
        try:
            entries = list(os.scandir(waiting.pop()))
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            inode = (status.st_dev, status.st_ino)
            if inode not in seen:
                seen.add(inode)
                size += status.st_blocks * _BLOCK
                if stat.S_ISREG(status.st_mode):
                    length += status.st_size
            if stat.S_ISDIR(status.st_mode):
                waiting.append(entry.path)
    return TreeUsage(size, len(seen), length)
