# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""See a snapshot's file system at some path, for as long as a block runs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress

from pluggd.model.types import Mount
from pluggd.mount.mounting import mount_all, unmount
from pluggd.mount.options import parse_options
from pluggd.mount.syscalls import MS_BIND, MS_RDONLY

Path = str | os.PathLike[str]


@contextmanager
def mounted(
    mounts: Sequence[Mount], *, reading: bool = False, directory: Path | None = None
) -> Generator[str]:
    """A path where the mounts show their file system.

    A single bind mount that can be written to is its source: nothing is mounted and no
    privilege needed. reading: the caller promises to change nothing, and then a
    read-only one is, too. Otherwise a temporary directory (below `directory`) is mounted
    to, and unmounted and removed at the end. Raises as `mount_all` does.
    """
    source = bind_source(mounts, reading=reading)
    if source is not None:
        yield source
        return
    path = tempfile.mkdtemp(prefix="pluggd-mount-", dir=directory)
    try:
        mount_all(mounts, path)
        try:
            yield path
        finally:
            # Lazily: a reader that is still at work must not keep the mount for ever.
            unmount(path, recursive=True, lazy=True)
    finally:
        # Only if it is empty, and so never what a failed unmount still shows.
        with suppress(OSError):
            os.rmdir(path)


def bind_source(mounts: Sequence[Mount], *, reading: bool = False) -> str | None:
    """The directory that these mounts show as it is; None when they must be mounted."""
    if len(mounts) != 1 or mounts[0].target.strip("/"):
        return None
    options = parse_options(mounts[0].options)
    if mounts[0].type not in ("bind", "rbind") and not options.flags & MS_BIND:
        return None
    if options.flags & MS_RDONLY and not reading:
        return None
    return mounts[0].source
