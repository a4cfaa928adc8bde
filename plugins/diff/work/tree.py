# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Below one directory, by names that others chose: no name leads out of it.

Every step is taken from a directory that is open, by one component, without following
a link. Links are followed here, component by component, and what they say is meant
below this root, as it will be for the container. So the kernel is never given a path
that could lead elsewhere, whatever is created or replaced meanwhile.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass

from pluggd.errors import InvalidArgument

from .entries import shown
from .lowers import DIRECTORY, Found, Lowers, is_whiteout
from .names import Parts

MAX_LINKS = 40
"""Links on the way to one name, as in the kernel."""

MAX_OPEN = 128
"""Directories that are kept open, out of the usual 1024 descriptors."""


@dataclass(frozen=True, slots=True)
class Directory:
    """An open directory and its real path below the root."""

    fd: int
    path: Parts


class Tree:
    """fd: the root; it stays the caller's. lowers: of an overlay's upper directory.

    `times` has the mode and the mtime (ns) that directories shall have in the end:
    those that were entered keep theirs, and what is put in later replaces it.
    """

    def __init__(self, fd: int, lowers: Lowers | None = None) -> None:
        self._root = Directory(fd, ())
        self._lowers = lowers
        self._open: dict[Parts, Directory] = {(): self._root}
        self._opaque: set[Parts] = set()
        self._privileged = os.geteuid() == 0
        self.times: dict[Parts, tuple[int, int]] = {}
        here = os.fstat(fd)
        below = lowers.root() if lowers is not None else None
        mtime = here.st_mtime_ns if below is None else below.st_mtime_ns
        if below is not None or os.listdir(fd):
            self.times[()] = (stat.S_IMODE(here.st_mode), mtime)
        if self._allow(fd, here):
            self.times[()] = (stat.S_IMODE(here.st_mode), mtime)

    @property
    def overlay(self) -> Lowers | None:
        return self._lowers

    def close(self) -> None:
        self.forget()

    def forget(self) -> None:
        """To be called when a directory or a link was removed or replaced."""
        for directory in self._open.values():
            if directory is not self._root:
                os.close(directory.fd)
        self._open = {(): self._root}

    def directory(self, parts: Parts, *, create: bool = True) -> Directory | None:
        """The directory of a name, made where it is missing; None when it may not be
        made. Valid until the next call. Raises InvalidArgument when something else is
        in the way."""
        found = self._open.get(parts)
        if found is not None:
            return found
        if len(self._open) > MAX_OPEN:
            self.forget()
        return self._walk(parts, create)

    def real(self, path: Parts) -> Directory:
        """A directory that is there, by its real path. Raises FileNotFoundError and
        NotADirectoryError; valid until the next call of this or of `directory`."""
        found = self._open.get(path)
        if found is not None:
            return found
        if len(self._open) > MAX_OPEN:
            self.forget()
        return self._real(path)

    def _real(self, path: Parts) -> Directory:
        here = self._root
        for number, name in enumerate(path, 1):
            known = self._open.get(path[:number])
            if known is None:
                fd = self._opened(here, name, path[:number])
                known = self._open[path[:number]] = Directory(fd, path[:number])
            here = known
        return here

    def hide(self, directory: Directory) -> None:
        """Hide what the layers below have in a directory of an overlay."""
        assert self._lowers is not None
        os.setxattr(directory.fd, self._lowers.opaque, b"y")
        self._opaque.add(directory.path)

    def below(self, path: Parts) -> Found | None:
        """What the layers below show under a real path that is missing above."""
        if self._lowers is None:
            return None
        if self._opaque and any(path[:n] in self._opaque for n in range(len(path))):
            return None
        return self._lowers.find(path)

    def _walk(self, parts: Sequence[bytes], create: bool) -> Directory | None:
        pending = list(reversed(parts))
        here = self._root
        links = 0
        while pending:
            part = pending.pop()
            if part in (b"", b"."):
                continue
            if part == b"..":
                up = self._walk(here.path[:-1], create=False)
                assert up is not None
                here = up
                continue
            path = (*here.path, part)
            known = self._open.get(path)
            if known is not None:
                here = known
                continue
            step = self._enter(here, part, path, create)
            if step is None:
                return None
            if isinstance(step, int):
                here = self._open[path] = Directory(step, path)
                continue
            links += 1
            if links > MAX_LINKS:
                raise InvalidArgument(
                    f"{shown(b'/'.join(parts))}: more than {MAX_LINKS} symbolic links: "
                    "invalid argument"
                )
            if step.startswith(b"/"):
                here = self._root
            pending.extend(reversed(step.split(b"/")))
        return here

    def _enter(
        self, parent: Directory, name: bytes, path: Parts, create: bool
    ) -> int | bytes | None:
        """A descriptor of a directory, or what a symbolic link says, or nothing."""
        try:
            return self._opened(parent, name, path)
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            here = os.stat(name, dir_fd=parent.fd, follow_symlinks=False)
            if stat.S_ISLNK(here.st_mode):
                return os.readlink(name, dir_fd=parent.fd)
            if self._lowers is None or not is_whiteout(here):
                raise InvalidArgument(
                    f"{shown(b'/'.join(path))} is not a directory: invalid argument"
                ) from None
            if not create:
                return None
            os.unlink(name, dir_fd=parent.fd)
            os.mkdir(name, 0o755, dir_fd=parent.fd)
            made = self._real(path)
            self.hide(made)
            return made.fd
        found = self.below(path)
        if found is None:
            if not create:
                return None
            os.mkdir(name, 0o755, dir_fd=parent.fd)
            return os.open(name, DIRECTORY, dir_fd=parent.fd)
        try:
            if stat.S_ISLNK(found.stat.st_mode):
                return os.readlink(found.name, dir_fd=found.parent)
            if not stat.S_ISDIR(found.stat.st_mode):
                raise InvalidArgument(
                    f"{shown(b'/'.join(path))} is not a directory: invalid argument"
                )
            return self._like(found, parent, name, path)
        finally:
            os.close(found.parent)

    def _opened(self, parent: Directory, name: bytes, path: Parts) -> int:
        """Enter a directory that is there; remember what it shall look like again."""
        try:
            fd = os.open(name, DIRECTORY, dir_fd=parent.fd)
        except PermissionError:
            here = os.stat(name, dir_fd=parent.fd, follow_symlinks=False)
            if self._privileged or not stat.S_ISDIR(here.st_mode):
                raise
            self.times.setdefault(path, (stat.S_IMODE(here.st_mode), here.st_mtime_ns))
            os.chmod(name, here.st_mode | 0o700, dir_fd=parent.fd)
            return os.open(name, DIRECTORY, dir_fd=parent.fd)
        here = os.fstat(fd)
        self.times.setdefault(path, (stat.S_IMODE(here.st_mode), here.st_mtime_ns))
        self._allow(fd, here)
        return fd

    def _allow(self, fd: int, here: os.stat_result) -> bool:
        """Let an ordinary user write into a directory for now; whether that was needed."""
        if self._privileged or here.st_mode & 0o700 == 0o700:
            return False
        os.fchmod(fd, stat.S_IMODE(here.st_mode) | 0o700)
        return True

    def _like(self, found: Found, parent: Directory, name: bytes, path: Parts) -> int:
        """A directory above that looks like the one below that it covers."""
        os.mkdir(name, 0o700, dir_fd=parent.fd)
        fd = os.open(name, DIRECTORY, dir_fd=parent.fd)
        below = os.open(found.name, DIRECTORY, dir_fd=found.parent)
        try:
            copy_attributes(below, fd, found.stat)
        finally:
            os.close(below)
        self.times[path] = (stat.S_IMODE(found.stat.st_mode), found.stat.st_mtime_ns)
        self._allow(fd, os.fstat(fd))
        return fd


def copy_attributes(source: int, target: int, like: os.stat_result) -> None:
    """Owner, extended attributes and mode, as far as this process may set them."""
    if os.geteuid() == 0:
        os.fchown(target, like.st_uid, like.st_gid)
    for name in os.listxattr(source):
        if name.startswith(("trusted.overlay.", "user.overlay.")):
            continue
        try:
            os.setxattr(target, name, os.getxattr(source, name))
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.EPERM, errno.ENODATA):
                raise
    os.fchmod(target, stat.S_IMODE(like.st_mode))
