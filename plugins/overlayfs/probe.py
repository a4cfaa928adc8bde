# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Whether overlayfs works in a directory, found out by using it.

A kernel that knows overlayfs says little: it may not work without privileges, on a file
system that has no whiteouts or is an overlay itself, or with an option. So a file
is changed and another removed through a mount of exactly the form that snapshots get.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence

from pluggd.errors import PluggdError
from pluggd.model.types import Mount
from pluggd.mount import mount_all, unmount
from pluggd.plugin import Skip
from pluggd.snapshotter.directories import remove_tree

from .layout import OverlayLayout

_INDEX = "/sys/module/overlay/parameters/index"
_PREFIX = "probe-"
_WAY_OUT = (
    "run pluggd as root (or in a user namespace on Linux 5.11 or later) with its root on "
    "ext4, XFS, Btrfs or tmpfs, or use the snapshotter native"
)


def working_options(root: str, extra: Sequence[str]) -> tuple[str, ...]:
    """The options with which overlay mounts work below `root`. Raises Skip."""
    _remove_leftovers(root)
    reasons: list[str] = []
    for private in ((), ("userxattr",)):
        options = (*_index(), *private, *extra)
        reason = _try(root, options)
        if not reason:
            return options
        if reason not in reasons:
            reasons.append(reason)
    said = "; with userxattr: ".join(reasons)
    raise Skip(f"overlayfs does not work in {root}: {said}; {_WAY_OUT}")


def _remove_leftovers(root: str) -> None:
    """Of a daemon that died in the middle of trying."""
    for name in os.listdir(root):
        if name.startswith(_PREFIX):
            unmount(f"{root}/{name}", recursive=True, lazy=True)
            remove_tree(f"{root}/{name}")


def _index() -> tuple[str, ...]:
    # Without it, two snapshots on one parent at a time are refused.
    return ("index=off",) if os.path.exists(_INDEX) else ()


def _try(root: str, options: Sequence[str]) -> str:
    """Why it does not work; "" when it does."""
    if ":" in root or "," in root:
        return "a path with a colon or comma cannot be an option of a mount"
    base = tempfile.mkdtemp(prefix=_PREFIX, dir=root)
    try:
        mounts = _layers(base, options)
        target = f"{base}/merged"
        os.mkdir(target)
        mount_all(mounts, target)
        try:
            return _use(target)
        finally:
            unmount(target, lazy=True)
    except PluggdError as error:
        # The directory of this try is gone when somebody reads it; and what fails
        # alike with another option is said once.
        return error.message.replace(f"{base}/", "")
    except OSError as error:
        return f"{error.strerror} ({error.filename})"
    finally:
        remove_tree(base)


def _layers(base: str, options: Sequence[str]) -> list[Mount]:
    layout = OverlayLayout(options)
    for name in ("upper", "lower"):
        os.mkdir(f"{base}/{name}")
        layout.create(f"{base}/{name}", "active", (), lambda: None)
    for name in ("changed", "removed"):
        with open(f"{base}/lower/fs/{name}", "w", encoding="utf-8") as stream:
            stream.write("lower")
    os.mkdir(f"{base}/lower/fs/replaced")
    return layout.mounts(f"{base}/upper", "active", [f"{base}/lower"])


def _use(target: str) -> str:
    """Copy up, whiteout and opaque directory: what images are made of."""
    with open(f"{target}/changed", "a", encoding="utf-8") as stream:
        stream.write(" and upper")
    os.unlink(f"{target}/removed")
    os.rmdir(f"{target}/replaced")
    os.mkdir(f"{target}/replaced")
    with open(f"{target}/changed", encoding="utf-8") as stream:
        if stream.read() != "lower and upper":
            return "a changed file is not what was written"
    if sorted(os.listdir(target)) != ["changed", "replaced"]:
        return (
            "a removed file is still listed: the file system does not tell the types of "
            "directory entries (on XFS, format with ftype=1)"
        )
    return ""
