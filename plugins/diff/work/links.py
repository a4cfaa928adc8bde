# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Hard links, also to files that only the layers below an overlay have."""

from __future__ import annotations

import os
import stat

from pluggd.errors import InvalidArgument

from .entries import Entry, shown
from .lowers import Found, is_whiteout
from .names import clean
from .tree import Directory, Tree, copy_attributes

COPY = 1 << 20


def hardlink(tree: Tree, entry: Entry, parent: Directory, name: bytes) -> None:
    """Give an existing file the name `name` in `parent`, too.

    Its owner and mode stay: they came with its first name. A link to a symbolic link
    links that, not what it points to. Raises InvalidArgument when there is no such
    file, FileExistsError when the name is taken.
    """
    target = clean(entry.link, f"entry {shown(entry.name)}: link target")
    if not target:
        raise _missing(entry)
    path = parent.path
    fd = os.dup(parent.fd)
    try:
        directory = tree.directory(target[:-1], create=False)
        if directory is None:
            raise _missing(entry)
        if (directory.path, target[-1]) == (path, name):
            raise InvalidArgument(
                f"entry {shown(entry.name)} is a hard link to itself: invalid argument"
            )
        if not _exists(directory, target[-1], entry):
            found = tree.below((*directory.path, target[-1]))
            if found is None:
                raise _missing(entry)
            try:
                _copy_up(found, directory, target[-1], entry)
            finally:
                os.close(found.parent)
        os.link(
            target[-1],
            name,
            src_dir_fd=directory.fd,
            dst_dir_fd=fd,
            follow_symlinks=False,
        )
    finally:
        os.close(fd)


def _exists(directory: Directory, name: bytes, entry: Entry) -> bool:
    try:
        here = os.stat(name, dir_fd=directory.fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if stat.S_ISDIR(here.st_mode):
        raise InvalidArgument(
            f"entry {shown(entry.name)} is a hard link to the directory "
            f"{shown(entry.link)}: invalid argument"
        )
    if is_whiteout(here):
        raise _missing(entry)
    return True


def _copy_up(found: Found, directory: Directory, name: bytes, entry: Entry) -> None:
    """What overlay itself does when a file of a lower layer is given another name."""
    like = found.stat
    if stat.S_ISLNK(like.st_mode):
        os.symlink(
            os.readlink(found.name, dir_fd=found.parent), name, dir_fd=directory.fd
        )
        if os.geteuid() == 0:
            os.chown(
                name,
                like.st_uid,
                like.st_gid,
                dir_fd=directory.fd,
                follow_symlinks=False,
            )
    elif stat.S_ISREG(like.st_mode):
        flags = os.O_NOFOLLOW | os.O_CLOEXEC
        source = os.open(found.name, os.O_RDONLY | flags, dir_fd=found.parent)
        try:
            new = os.O_CREAT | os.O_EXCL | os.O_WRONLY
            target = os.open(name, new | flags, 0o600, dir_fd=directory.fd)
            try:
                while os.copy_file_range(source, target, COPY):
                    pass
                copy_attributes(source, target, like)
            finally:
                os.close(target)
        finally:
            os.close(source)
    else:
        raise _missing(entry)
    os.utime(
        name,
        ns=(like.st_atime_ns, like.st_mtime_ns),
        dir_fd=directory.fd,
        follow_symlinks=False,
    )


def _missing(entry: Entry) -> InvalidArgument:
    return InvalidArgument(
        f"entry {shown(entry.name)} is a hard link to {shown(entry.link)}, and there is "
        "no such file: invalid argument"
    )
