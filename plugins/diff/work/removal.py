# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Removing what a layer deletes or replaces, however deep, following no link."""

from __future__ import annotations

import errno
import os

from .lowers import DIRECTORY


def remove(parent: int, name: bytes) -> None:
    """Remove a file, or a directory with all that it holds; one that is not there is
    no error. Holds two descriptors, whatever the depth."""
    if _remove_flat(parent, name):
        return
    below = [name]
    fd = _enter(parent, name)
    try:
        while below:
            full = [one for one in _names(fd) if not _remove_flat(fd, one)]
            if full:
                below.append(full[0])
                fd = _move(fd, _enter(fd, full[0]))
                continue
            fd = _move(fd, os.open("..", DIRECTORY, dir_fd=fd))
            os.rmdir(below.pop(), dir_fd=fd)
    finally:
        os.close(fd)


def _move(old: int, new: int) -> int:
    os.close(old)
    return new


def _enter(parent: int, name: bytes) -> int:
    """A directory whose content goes; its mode must not keep us from that."""
    try:
        fd = os.open(name, DIRECTORY, dir_fd=parent)
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=parent)
        return os.open(name, DIRECTORY, dir_fd=parent)
    if os.geteuid() and os.fstat(fd).st_mode & 0o700 != 0o700:
        os.fchmod(fd, 0o700)
    return fd


def _names(fd: int) -> list[bytes]:
    return [os.fsencode(name) for name in os.listdir(fd)]


def _remove_flat(parent: int, name: bytes) -> bool:
    """Remove what is not a full directory; whether that was possible."""
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno not in (errno.EISDIR, errno.EPERM):
            raise
        try:
            os.rmdir(name, dir_fd=parent)
        except OSError as inner:
            if inner.errno in (errno.ENOTEMPTY, errno.EEXIST):
                return False
            if inner.errno == errno.ENOTDIR:
                raise error from None  # an immutable file
            raise
    return True
