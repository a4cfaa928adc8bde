# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Owners, extended attributes, modes and times, with or without being root.

What only root may set is refused, or left out and counted, as the operator chose. A
file whose owner could not be set loses its set-id bits: it would run as the user of
the daemon.
"""

from __future__ import annotations

import errno
import os
from collections import Counter

from pluggd.errors import InvalidArgument, PermissionDenied

from .entries import Entry, shown

SET_ID = 0o6000
MAX_ID = (1 << 32) - 2
_MAX_TIME = (1 << 63) - 1

OWN = (b"trusted.overlay.", b"user.overlay.")
"""Attributes by which overlay directs itself. A layer that brings them could show a
file of another layer under a wrong name and mode; no layer has a reason to."""


class Attributes:
    """refuse: raise PermissionDenied for what only root may do. skipped: what was left
    out, by `owners`, `attributes` and `devices`."""

    def __init__(self, *, refuse: bool) -> None:
        self._refuse = refuse
        self._uid, self._gid = os.geteuid(), os.getegid()
        self.skipped: Counter[str] = Counter()

    def put(self, target: int | str, entry: Entry) -> int:
        """Set owner and attributes; the mode that may be set. target: a descriptor, or
        a path whose last component is not followed."""
        mode = entry.mode
        if not self._own(target, entry):
            mode &= ~SET_ID
        for name, value in entry.xattrs.items():
            self._attribute(target, entry, name, value)
        return mode

    def denied(self, what: str, entry: Entry, error: OSError) -> None:
        """Count what the kernel did not allow. Raises PermissionDenied."""
        if error.errno not in (errno.EPERM, errno.EACCES):
            raise error
        if self._refuse:
            raise PermissionDenied(
                f"entry {shown(entry.name)}: this daemon may not set its {what}; run it "
                'as root, or configure unprivileged = "skip": permission denied'
            ) from error
        self.skipped[what] += 1

    def _own(self, target: int | str, entry: Entry) -> bool:
        uid, gid = entry.uid, entry.gid
        if not (0 <= uid <= MAX_ID and 0 <= gid <= MAX_ID):
            raise InvalidArgument(
                f"entry {shown(entry.name)} has the owner {uid}:{gid}: invalid argument"
            )
        if self._uid and (uid, gid) == (self._uid, self._gid):
            return True
        try:
            os.chown(target, uid, gid, follow_symlinks=isinstance(target, int))
        except OSError as error:
            self.denied("owners", entry, error)
            return False
        return True

    def _attribute(
        self, target: int | str, entry: Entry, name: bytes, value: bytes
    ) -> None:
        if name.startswith(OWN):
            return
        try:
            if isinstance(target, int):
                os.setxattr(target, name, value)
            else:
                os.setxattr(target, name, value, follow_symlinks=False)
        except OSError as error:
            if error.errno != errno.ENOTSUP:  # the file system has none: as containerd
                self.denied("attributes", entry, error)


def times(mtime: int) -> tuple[int, int]:
    """For `os.utime(ns=...)`, within what the kernel takes."""
    mtime = max(-_MAX_TIME, min(mtime, _MAX_TIME))
    return mtime, mtime
