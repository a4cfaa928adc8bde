# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Copy a tree with all that a container can see of it.

Owner, mode, times, extended attributes, hard links among themselves, devices, pipes
and sockets; contents by copy_file_range(2), which shares blocks where the file system
can. Symbolic links are never followed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress

_PIECE = 1 << 30
_NO_COPY_RANGE = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}
_NO_ATTRIBUTES = {errno.ENOTSUP, errno.EPERM, errno.ENODATA}

Inode = tuple[int, int]


def copy_tree(source: str, target: str, pause: Callable[[], None]) -> None:
    """Copy what is in one directory into another, and the directory's own attributes.

    `pause` is called before each entry and may raise. Raises OSError.
    """
    links: dict[Inode, str] = {}
    waiting = [(source, target)]
    made: list[tuple[str, str]] = []
    while waiting:
        from_directory, to_directory = waiting.pop()
        made.append((from_directory, to_directory))
        with _readable(from_directory):
            names = os.listdir(from_directory)
            for name in names:
                pause()
                origin, copy = f"{from_directory}/{name}", f"{to_directory}/{name}"
                status = os.lstat(origin)
                if stat.S_ISDIR(status.st_mode):
                    os.mkdir(copy, 0o700)
                    waiting.append((origin, copy))
                    continue
                inode = (status.st_dev, status.st_ino)
                if status.st_nlink > 1 and inode in links:
                    os.link(links[inode], copy, follow_symlinks=False)
                    continue
                _copy_entry(origin, copy, status)
                _copy_attributes(origin, copy, status)
                if status.st_nlink > 1:
                    links[inode] = copy
    # Innermost first: an entry that is made changes the time of its directory.
    for origin, copy in reversed(made):
        _copy_attributes(origin, copy, os.lstat(origin))


def _copy_entry(origin: str, copy: str, status: os.stat_result) -> None:
    mode = status.st_mode
    if stat.S_ISREG(mode):
        with _readable(origin):
            _copy_bytes(origin, copy)
    elif stat.S_ISLNK(mode):
        os.symlink(os.readlink(origin), copy)
    else:
        os.mknod(copy, stat.S_IFMT(mode) | 0o600, status.st_rdev)


def _copy_bytes(origin: str, copy: str) -> None:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    source = os.open(origin, flags)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        target = os.open(copy, flags, 0o600)
        try:
            try:
                while os.copy_file_range(source, target, _PIECE):
                    pass
            except OSError as error:
                if error.errno not in _NO_COPY_RANGE:
                    raise
                os.lseek(source, 0, os.SEEK_SET)
                os.ftruncate(target, 0)
                while os.sendfile(target, source, None, _PIECE):
                    pass
        finally:
            os.close(target)
    finally:
        os.close(source)


def _copy_attributes(origin: str, copy: str, status: os.stat_result) -> None:
    """Owner before mode and capabilities, which a change of the owner takes away."""
    if (status.st_uid, status.st_gid) != _owner(copy):
        os.chown(copy, status.st_uid, status.st_gid, follow_symlinks=False)
    with suppress(OSError):
        for name in os.listxattr(origin, follow_symlinks=False):
            _copy_xattr(origin, copy, name)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(copy, stat.S_IMODE(status.st_mode))
    os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)


def _copy_xattr(origin: str, copy: str, name: str) -> None:
    """As far as the file system and our privileges allow."""
    try:
        value = os.getxattr(origin, name, follow_symlinks=False)
        os.setxattr(copy, name, value, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_ATTRIBUTES:
            raise


def _owner(path: str) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_uid, status.st_gid


@contextmanager
def _readable(path: str) -> Generator[None]:
    """Without privileges, an owner may have to allow itself to read its own file."""
    if os.geteuid() == 0:
        yield
        return
    mode = stat.S_IMODE(os.lstat(path).st_mode)
    wanted = mode | (0o500 if os.path.isdir(path) else 0o400)
    if wanted == mode:
        yield
        return
    os.chmod(path, wanted)
    try:
        yield
    finally:
        os.chmod(path, mode)
