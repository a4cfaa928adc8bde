# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The job `create`: what differs between two trees becomes a layer."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import Any

from . import entries
from .changes import FILE, attributes, changes, moving
from .entries import Entry
from .limits import system_error
from .lowers import DIRECTORY
from .names import WHITEOUT, Parts
from .sink import PIECE, Sink
from .tarwrite import END, header, padding

Message = dict[str, Any]

_KINDS = {
    stat.S_IFREG: entries.FILE,
    stat.S_IFDIR: entries.DIRECTORY,
    stat.S_IFLNK: entries.SYMLINK,
    stat.S_IFCHR: entries.CHAR_DEVICE,
    stat.S_IFBLK: entries.BLOCK_DEVICE,
    stat.S_IFIFO: entries.FIFO,
}


def create(
    job: Message, fds: list[int], progress: Callable[[Message], None]
) -> Message:
    """fds: the file for the layer, the upper directory, and the lower one, if any.

    job: compression.
    """
    sink = Sink(fds[0], job["compression"])
    upper = fds[1]
    found = changes(upper, fds[2] if len(fds) > 2 else None)
    path: Parts = ()
    with Walk(upper) as walk:
        for path, gone in found.in_order():
            try:
                if gone:
                    name = b"/".join((*path[:-1], WHITEOUT + path[-1]))
                    sink.write(header(Entry(name=name, mode=0)))
                else:
                    _write(sink, walk, path, found.links.get(path))
            except (FileNotFoundError, NotADirectoryError):
                raise moving(path) from None
            except OSError as error:
                raise system_error(b"/".join(path), error) from error
            progress({"written": sink.written})
    sink.write(END)
    try:
        sink.close()
    except OSError as error:
        raise system_error(b"/".join(path), error) from error
    return {"diff_id": sink.diff_id, "digest": sink.digest, "size": sink.size}


class Walk:
    """Descriptors of directories on the way to paths that come in order; no link is
    followed, so a tree that is changed meanwhile cannot lead elsewhere."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._path: list[bytes] = []
        self._fds: list[int] = []

    def __enter__(self) -> Walk:
        return self

    def __exit__(self, *exc: object) -> None:
        self._leave(0)

    def directory(self, path: Parts) -> int:
        """Valid until the next call. Raises FileNotFoundError, NotADirectoryError."""
        common = 0
        while common < min(len(path), len(self._path)):
            if path[common] != self._path[common]:
                break
            common += 1
        self._leave(common)
        for name in path[common:]:
            parent = self._fds[-1] if self._fds else self._root
            self._fds.append(os.open(name, DIRECTORY, dir_fd=parent))
            self._path.append(name)
        return self._fds[-1] if self._fds else self._root

    def _leave(self, depth: int) -> None:
        while len(self._fds) > depth:
            os.close(self._fds.pop())
            self._path.pop()


def _write(sink: Sink, walk: Walk, path: Parts, first: Parts | None) -> None:
    parent = walk.directory(path[:-1])
    name = path[-1]
    here = os.stat(name, dir_fd=parent, follow_symlinks=False)
    kind = _KINDS.get(stat.S_IFMT(here.st_mode))
    if kind is None:
        raise moving(path)
    entry = Entry(
        name=b"/".join(path),
        kind=kind,
        mode=stat.S_IMODE(here.st_mode),
        uid=here.st_uid,
        gid=here.st_gid,
        mtime=here.st_mtime_ns,
    )
    if first is not None:
        entry.kind, entry.link = entries.HARDLINK, b"/".join(first)
        sink.write(header(entry))
        return
    entry.xattrs = {k.encode(): v for k, v in attributes(parent, name).items()}
    if kind == entries.DIRECTORY:
        entry.name += b"/"
    elif kind == entries.SYMLINK:
        entry.link = os.readlink(name, dir_fd=parent)
    elif kind in (entries.CHAR_DEVICE, entries.BLOCK_DEVICE):
        entry.major, entry.minor = os.major(here.st_rdev), os.minor(here.st_rdev)
    if kind != entries.FILE:
        sink.write(header(entry))
        return
    fd = os.open(name, FILE, dir_fd=parent)
    try:
        if not os.path.samestat(here, os.fstat(fd)):
            raise moving(path)
        _copy(sink, fd, entry, here.st_size, path)
    finally:
        os.close(fd)


def _copy(sink: Sink, fd: int, entry: Entry, size: int, path: Parts) -> None:
    entry.size = size
    sink.write(header(entry))
    left = size
    while left:
        data = os.read(fd, min(left, PIECE))
        if not data:
            raise moving(path)
        left -= len(data)
        sink.write(data)
    sink.write(padding(size))
