# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where a layer is written to: in place where that is possible, else mounted.

The source of a bind mount and the upper directory of an overlay are written to as they
lie, which needs no privilege and no mount.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import trio

from pluggd.errors import InvalidArgument, NotFound, PermissionDenied
from pluggd.model.types import Mount
from pluggd.mount import mounted
from pluggd.struct import Struct

PRIVILEGED, UNPRIVILEGED = "trusted.overlay.opaque", "user.overlay.opaque"

_OVERLAY_OPTIONS = ("lowerdir=", "upperdir=", "workdir=", "index=", "xino=")
_PLAIN_OPTIONS = frozenset(("rw", "userxattr", "volatile", "noatime", "relatime"))


class Target(Struct, frozen=True):
    """A directory to write to. lowers: the nearest first, for an overlay's upper
    directory; None elsewhere. opaque: the attribute by which that overlay hides."""

    path: str
    lowers: tuple[str, ...] | None = None
    opaque: str = PRIVILEGED


def in_place(mounts: Sequence[Mount]) -> Target | None:
    """The directory behind these mounts, or None when they must be mounted.

    Raises InvalidArgument for no mounts, and for a read-only one.
    """
    if not mounts:
        raise InvalidArgument(
            "mounts: there are none; give those of an active snapshot: invalid argument"
        )
    if len(mounts) > 1 or mounts[0].target.strip("/"):
        return None
    mount = mounts[0]
    if "ro" in mount.options:
        raise _read_only(mount)
    if mount.type in ("bind", "rbind") or {"bind", "rbind"} & set(mount.options):
        return Target(mount.source)
    if mount.type != "overlay":
        return None
    options: dict[str, str] = {}
    for option in mount.options:
        if option.startswith(_OVERLAY_OPTIONS):
            key, _, value = option.partition("=")
            options[key] = value
        elif option not in _PLAIN_OPTIONS:
            return None  # one that may change how files are to be written
    if "upperdir" not in options:
        raise _read_only(mount)
    lowers = re.split(r"(?<!\\):", options.get("lowerdir", ""))
    return Target(
        options["upperdir"],
        tuple(lower.replace("\\:", ":") for lower in lowers if lower),
        UNPRIVILEGED if "userxattr" in mount.options else PRIVILEGED,
    )


@asynccontextmanager
async def writable(mounts: Sequence[Mount]) -> AsyncGenerator[tuple[Target, int]]:
    """The target and a descriptor of its directory. Raises as `in_place` and mounting."""
    target = in_place(mounts)
    if target is not None:
        fd = open_directory(target.path)
        try:
            yield target, fd
        finally:
            os.close(fd)
        return
    async with seen(mounts, reading=False) as path:
        fd = open_directory(path)
        try:
            yield Target(path), fd
        finally:
            os.close(fd)


@asynccontextmanager
async def seen(mounts: Sequence[Mount], *, reading: bool) -> AsyncGenerator[str]:
    """A path where the mounts show their file system, mounted where that is needed."""
    context = mounted(mounts, reading=reading)
    path = await trio.to_thread.run_sync(context.__enter__)
    try:
        yield path
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(context.__exit__, None, None, None)


def open_directory(path: str) -> int:
    """Raises NotFound, InvalidArgument, PermissionDenied."""
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFound(f"mounts: the directory {path}: not found") from None
    except PermissionError as error:
        raise PermissionDenied(
            f"mounts: the directory {path}: permission denied"
        ) from error
    except OSError as error:
        raise InvalidArgument(
            f"mounts: the directory {path}: {error.strerror}: invalid argument"
        ) from error


def _read_only(mount: Mount) -> InvalidArgument:
    return InvalidArgument(
        f"mounts: {mount.type} {mount.source} is read-only; give those of an active "
        "snapshot, not of a view: invalid argument"
    )
