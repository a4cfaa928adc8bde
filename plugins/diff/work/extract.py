# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A layer becomes files: each entry in the order of the archive, as containerd does it.

What exists is replaced, but a directory by a directory, which is merged. Times and
modes of directories come last, when nothing is put into them any more.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from pluggd.errors import InvalidArgument, ResourceExhausted

from . import entries
from .archive import Archive
from .attributes import Attributes, times
from .deletions import Deletions
from .entries import Entry, shown
from .limits import Limits, system_error
from .links import hardlink
from .names import OPAQUE, Parts, clean, deleted, is_metadata
from .removal import remove
from .tree import Directory, Tree

NEW = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_DEVICES = {
    entries.CHAR_DEVICE: stat.S_IFCHR,
    entries.BLOCK_DEVICE: stat.S_IFBLK,
    entries.FIFO: stat.S_IFIFO,
}


class Extractor:
    """`run` once. Must run with an umask of 0."""

    def __init__(
        self,
        archive: Archive,
        tree: Tree,
        attributes: Attributes,
        limits: Limits,
    ) -> None:
        self._archive = archive
        self._tree = tree
        self._attributes = attributes
        self._limits = limits
        self._deletions = Deletions(tree)
        self._claimed = 0

    def run(self) -> None:
        """Extract all entries. Raises a PluggdError that names the entry."""
        while (entry := self._archive.next()) is not None:
            if self._archive.entries > self._limits.max_entries:
                raise ResourceExhausted(
                    f"layer: more than {self._limits.max_entries} entries, the limit "
                    "max_entries: resource exhausted"
                )
            try:
                self._extract(entry)
            except OSError as error:
                raise system_error(entry.name, error) from error
        self._finish()

    def _extract(self, entry: Entry) -> None:
        parts = clean(entry.name)
        if not parts:
            self._root(entry)
            return
        if is_metadata(parts):
            return
        name = deleted(parts)
        if parts[-1] == OPAQUE:
            self._deletions.opaque(parts[:-1])
        elif name is not None:
            self._deletions.whiteout(parts[:-1], name)
        else:
            self._place(entry, parts)

    def _root(self, entry: Entry) -> None:
        if entry.kind != entries.DIRECTORY:
            raise InvalidArgument(
                f"entry {shown(entry.name)} replaces the root, which is a directory: "
                "invalid argument"
            )
        directory = self._parent(())
        mode = self._attributes.put(directory.fd, entry)
        self._tree.times[()] = (mode, entry.mtime)

    def _place(self, entry: Entry, parts: Parts) -> None:
        parent = self._parent(parts[:-1])
        name = parts[-1]
        replaced = False
        while True:
            try:
                self._make(entry, parent, name, replaced)
                break
            except FileExistsError:
                # By its real path: the way there may lead through what is replaced.
                parent = self._tree.real(parent.path)
                here = os.stat(name, dir_fd=parent.fd, follow_symlinks=False)
                remove(parent.fd, name)
                replaced = True
                if stat.S_ISDIR(here.st_mode) or stat.S_ISLNK(here.st_mode):
                    self._tree.forget()
                    parent = self._tree.real(parent.path)
        self._deletions.keep((*parent.path, name))

    def _make(
        self, entry: Entry, parent: Directory, name: bytes, replaced: bool
    ) -> None:
        """Raises FileExistsError when something else has the name."""
        match entry.kind:
            case entries.FILE:
                self._file(entry, parent, name)
            case entries.DIRECTORY:
                self._directory(entry, parent, name, replaced)
            case entries.SYMLINK:
                os.symlink(entry.link, name, dir_fd=parent.fd)
                self._attributes.put(_path(parent, name), entry)
                os.utime(
                    name,
                    ns=times(entry.mtime),
                    dir_fd=parent.fd,
                    follow_symlinks=False,
                )
            case entries.HARDLINK:
                hardlink(self._tree, entry, parent, name)
            case entries.CHAR_DEVICE | entries.BLOCK_DEVICE | entries.FIFO:
                self._device(entry, parent, name)
            case other:
                raise InvalidArgument(
                    f"entry {shown(entry.name)} has the unknown type {shown(other)}: "
                    "invalid argument"
                )

    def _file(self, entry: Entry, parent: Directory, name: bytes) -> None:
        fd = os.open(name, NEW, 0o600, dir_fd=parent.fd)
        try:
            if entry.sparse is None:
                self._archive.copy(fd, entry.size)
            else:
                self._sparse(fd, entry)
            os.fchmod(fd, self._attributes.put(fd, entry))
            os.utime(fd, ns=times(entry.mtime))
        finally:
            os.close(fd)

    def _sparse(self, fd: int, entry: Entry) -> None:
        assert entry.sparse is not None
        self._claimed += entry.apparent
        if self._claimed > self._limits.max_layer_size:
            raise ResourceExhausted(
                f"entry {shown(entry.name)}: sparse files of {self._claimed} bytes are "
                f"over {self._limits.max_layer_size}, the limit max_layer_size: "
                "resource exhausted"
            )
        os.ftruncate(fd, entry.apparent)
        for offset, length in entry.sparse:
            os.lseek(fd, offset, os.SEEK_SET)
            self._archive.copy(fd, length)

    def _directory(
        self, entry: Entry, parent: Directory, name: bytes, replaced: bool
    ) -> None:
        path = (*parent.path, name)
        try:
            os.mkdir(name, 0o700, dir_fd=parent.fd)
        except FileExistsError:
            here = os.stat(name, dir_fd=parent.fd, follow_symlinks=False)
            if not stat.S_ISDIR(here.st_mode):
                raise
        directory = self._tree.real(path)
        if replaced and self._tree.overlay is not None:
            # What it replaces hid what the layers below have there, and so must it.
            self._tree.hide(directory)
        mode = self._attributes.put(directory.fd, entry)
        self._tree.times[path] = (mode, entry.mtime)

    def _device(self, entry: Entry, parent: Directory, name: bytes) -> None:
        device = 0
        if entry.kind != entries.FIFO:
            if not (0 <= entry.major < 1 << 12 and 0 <= entry.minor < 1 << 20):
                raise InvalidArgument(
                    f"entry {shown(entry.name)} has the device number "
                    f"{entry.major}:{entry.minor}: invalid argument"
                )
            device = os.makedev(entry.major, entry.minor)
            if entry.kind == entries.CHAR_DEVICE and not device:
                raise InvalidArgument(
                    f"entry {shown(entry.name)} is the device 0:0, by which overlay marks "
                    "deletions; a layer marks them with .wh. files: invalid argument"
                )
        try:
            os.mknod(name, _DEVICES[entry.kind] | 0o600, device, dir_fd=parent.fd)
        except FileExistsError:
            raise
        except OSError as error:
            self._attributes.denied("devices", entry, error)
            return
        mode = self._attributes.put(_path(parent, name), entry)
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent.fd)
        try:
            os.chmod(f"/proc/self/fd/{fd}", mode)
        finally:
            os.close(fd)
        os.utime(name, ns=times(entry.mtime), dir_fd=parent.fd, follow_symlinks=False)

    def _parent(self, parts: Parts) -> Directory:
        found = self._tree.directory(parts)
        assert found is not None  # it was made
        return found

    def _finish(self) -> None:
        """Modes and times of directories, the deepest first, so that a mode that keeps
        an ordinary user out keeps nobody from what lies below."""
        for path in sorted(self._tree.times, key=len, reverse=True):
            mode, mtime = self._tree.times[path]
            # One that was removed again, or became something else, is no concern.
            with suppress(FileNotFoundError, NotADirectoryError):
                directory = self._tree.real(path)
                os.fchmod(directory.fd, mode)
                os.utime(directory.fd, ns=times(mtime))


def _path(parent: Directory, name: bytes) -> str:
    """A path for calls that take no descriptor of a directory."""
    return f"/proc/self/fd/{parent.fd}/{os.fsdecode(name)}"
