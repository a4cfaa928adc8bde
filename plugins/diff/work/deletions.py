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

from .names import Parts
from .removal import remove
from .tree import Directory, Tree


class Deletions:
    """`keep` what the layer brings; `whiteout` and `opaque` spare it."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        root = tree.directory(())
        assert root is not None
        # A layer without others below it has nothing to delete, and nothing to note.
        self._needed = tree.overlay is not None or bool(os.listdir(root.fd))
        # Hashes, because a layer may have a million names. Two equal ones, which
        # nobody can make, as they are salted, would spare what should go.
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
        if not self._needed:
            return
        directory = self._tree.directory(parent, create=False)
        if directory is None:
            return
        if self._tree.overlay is None:
            self._delete(directory, name)
        else:
            self._record(directory, name)

    def opaque(self, parent: Parts) -> None:
        """The layer deletes all that is in a directory, but not the directory."""
        if not self._needed:
            return
        directory = self._tree.directory(parent, create=False)
        if directory is None:
            return
        overlay = self._tree.overlay
        if overlay is None:
            self._empty(directory.path)
        elif directory.path:
            self._cover(directory.path)
        else:
            # Overlay merges the roots whatever they say: delete name by name.
            for name in overlay.root_names():
                self._record(self._root(), name)

    def _root(self) -> Directory:
        root = self._tree.directory(())
        assert root is not None
        return root

    def _record(self, directory: Directory, name: bytes) -> None:
        path = (*directory.path, name)
        kept = self._delete(directory, name)
        if kept is not None:
            if stat.S_ISDIR(kept.st_mode):
                self._cover(path)
            return
        found = self._tree.below(path)
        if found is None:
            return  # a mark where nothing is to be hidden would be seen in listings
        os.close(found.parent)
        parent = self._tree.real(path[:-1])
        os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=parent.fd)

    def _cover(self, path: Parts) -> None:
        """Hide what the layers below have in a directory; what was noted in it until
        now, and is not of this layer, has nothing to hide any more."""
        self._empty(path)
        self._tree.hide(self._tree.real(path))

    def _delete(self, directory: Directory, name: bytes) -> os.stat_result | None:
        """Remove a name, but not what the layer brought under it, which it returns. The
        directory may be closed by then."""
        path = (*directory.path, name)
        try:
            here = os.stat(name, dir_fd=directory.fd, follow_symlinks=False)
        except FileNotFoundError:
            return None
        if hash(path) not in self._kept:
            self._remove(directory.fd, name, here)
            return None
        if stat.S_ISDIR(here.st_mode):
            self._empty(path)
        return here

    def _empty(self, top: Parts) -> None:
        """Remove all below a directory that the layer did not bring."""
        pending = [top]
        while pending:
            path = pending.pop()
            fd = os.dup(self._tree.real(path).fd)
            try:
                for name in map(os.fsencode, os.listdir(fd)):
                    here = os.stat(name, dir_fd=fd, follow_symlinks=False)
                    if hash((*path, name)) not in self._kept:
                        self._remove(fd, name, here)
                    elif stat.S_ISDIR(here.st_mode):
                        pending.append((*path, name))
            finally:
                os.close(fd)

    def _remove(self, fd: int, name: bytes, here: os.stat_result) -> None:
        remove(fd, name)
        if stat.S_ISDIR(here.st_mode) or stat.S_ISLNK(here.st_mode):
            self._tree.forget()
