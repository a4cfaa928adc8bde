# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Whiteouts: what a layer deletes of the layers below it, and of them alone.

Where they stand among the other entries does not matter: a name that the same layer
brings stays. In an overlay's upper directory a deletion is recorded, elsewhere it is
carried out.
"""

from __future__ import annotations

import os
import stat

from plugins.diff.work.names import Parts
from plugins.diff.work.removal import remove
from plugins.diff.work.tree import Directory, Tree


class Deletions:
    """`keep` what the layer brings; `whiteout` and `opaque` spare it."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        root = tree.directory(())
        assert root is not None
        # A layer without others below it has nothing to delete, and nothing to note.
        self._needed = tree.overlay is None and bool(os.listdir(root.fd))
        # Hashes, because a layer may have a million names. Two equal ones, of which
        # nobody can make any, would spare what should go.
        self._kept: set[int] = set()

    def keep(self, path: Parts) -> None:
        """This real path is in the layer, and so are the directories above it."""
        if not self._needed:
            return
        while path:
            mark = hash(path)
            if mark in self._kept:
                return
            self._kept.add(mark)
            path = path[:-1]

    def whiteout(self, parent: Parts, name: bytes) -> None:
        """The layer deletes one name."""
        overlay = self._tree.overlay
        if overlay is None and not self._needed:
            return
        directory = self._tree.directory(parent, create=overlay is not None)
        if directory is None:
            return
        if overlay is None:
            self._delete(directory, name)
        else:
            self._record(directory, name)

    def opaque(self, parent: Parts) -> None:
        """The layer deletes all that is in a directory, but not the directory."""
        overlay = self._tree.overlay
        if overlay is None and not self._needed:
            return
        directory = self._tree.directory(parent, create=overlay is not None)
        if directory is None:
            return
        if overlay is None:
            self._empty(directory)
        elif directory.path:
            self._tree.hide(directory)
        else:
            # Overlay merges the roots whatever they say: delete name by name.
            for name in overlay.root_names():
                self._record(self._root(), name)

    def _root(self) -> Directory:
        root = self._tree.directory(())
        assert root is not None
        return root

    def _record(self, directory: Directory, name: bytes) -> None:
        try:
            os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=directory.fd)
        except FileExistsError:
            here = os.stat(name, dir_fd=directory.fd, follow_symlinks=False)
            if stat.S_ISDIR(here.st_mode):
                self._tree.hide(self._tree.real((*directory.path, name)))

    def _delete(self, directory: Directory, name: bytes) -> None:
        path = (*directory.path, name)
        if hash(path) not in self._kept:
            self._remove(directory.fd, name)
            return
        here = os.stat(name, dir_fd=directory.fd, follow_symlinks=False)
        if stat.S_ISDIR(here.st_mode):
            self._empty(self._tree.real(path))

    def _empty(self, top: Directory) -> None:
        """Remove all below a directory that the layer did not bring."""
        pending = [top.path]
        while pending:
            path = pending.pop()
            fd = os.dup(self._tree.real(path).fd)
            try:
                for text in os.listdir(fd):
                    name = os.fsencode(text)
                    if hash((*path, name)) not in self._kept:
                        self._remove(fd, name)
                        continue
                    here = os.stat(name, dir_fd=fd, follow_symlinks=False)
                    if stat.S_ISDIR(here.st_mode):
                        pending.append((*path, name))
            finally:
                os.close(fd)

    def _remove(self, fd: int, name: bytes) -> None:
        here = None
        try:
            here = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            return
        remove(fd, name)
        if stat.S_ISDIR(here.st_mode) or stat.S_ISLNK(here.st_mode):
            self._tree.forget()
