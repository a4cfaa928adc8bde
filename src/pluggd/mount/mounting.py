# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Put mounts in place, and take them away."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from functools import partial

from pluggd.errors import FailedPrecondition, InvalidArgument, PluggdError
from pluggd.model.types import Mount
from pluggd.mount import syscalls
from pluggd.mount.lowerdirs import in_directory, shortened
from pluggd.mount.options import Options, parse_options
from pluggd.mount.refusal import explain, refused
from pluggd.mount.table import mounts_at

_BIND_FLAGS = syscalls.MS_BIND | syscalls.MS_REC


def mount_all(mounts: Sequence[Mount], target: str | os.PathLike[str]) -> None:
    """Mount all of these at a directory, in order; what fails leaves none of them.

    A mount's own `target` is a path below the directory, which must exist. Raises
    InvalidArgument (no mounts; an option or a path, named), PermissionDenied,
    NotFound, FailedPrecondition, ResourceExhausted, Internal.
    """
    if not mounts:
        raise InvalidArgument("there are no mounts: invalid argument")
    root = os.path.realpath(target)
    done: list[str] = []
    try:
        for mount in mounts:
            place = _below(root, mount.target)
            _mount(mount, place)
            done.append(place)
    except BaseException:
        for place in reversed(done):
            syscalls.umount2(place, syscalls.MNT_DETACH | syscalls.UMOUNT_NOFOLLOW)
        raise


def unmount(
    target: str | os.PathLike[str], *, recursive: bool = False, lazy: bool = False
) -> None:
    """Unmount everything that is mounted at a path; nothing mounted there is fine.

    recursive: also what is mounted below it. lazy: detach it now, and let the kernel
    finish when its last user is gone. Raises FailedPrecondition (it is in use),
    PermissionDenied.
    """
    root = os.path.realpath(target)
    flags = syscalls.UMOUNT_NOFOLLOW | (syscalls.MNT_DETACH if lazy else 0)
    for place in mounts_at(root, recursive=recursive):
        try:
            syscalls.umount2(place, flags)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):
                continue  # somebody else was faster
            raise _in_use(error, place) from error


def _in_use(error: OSError, place: str) -> PluggdError:
    if error.errno == errno.EBUSY:
        return FailedPrecondition(
            f"unmount {place}: it is in use: end what has files open or its working "
            "directory below it, or unmount lazily: failed precondition"
        )
    return refused(error, f"unmount {place}")


def _below(root: str, relative: str) -> str:
    """A path below a directory, with no way out of it by links or dots."""
    if not relative.strip("/"):
        return root
    place = os.path.realpath(os.path.join(root, relative.lstrip("/")))
    if place != root and not place.startswith(root.rstrip("/") + "/"):
        raise InvalidArgument(
            f"mount target {relative!r} leads out of {root}: invalid argument"
        )
    return place


def _mount(mount: Mount, place: str) -> None:
    options = parse_options(mount.options)
    flags = options.flags
    # A bind mount ignores its flags at first; they are set by a remount of it.
    later = flags & ~_BIND_FLAGS if flags & syscalls.MS_BIND else 0
    if later:
        flags &= _BIND_FLAGS
    type_ = "" if mount.type in ("bind", "rbind") else mount.type
    if mount.type in ("bind", "rbind") and not flags & syscalls.MS_BIND:
        flags |= syscalls.MS_BIND
    doing = f"mount {mount.type or 'bind'} {mount.source} at {place}"
    directory, data = shortened(options.data) if type_ else ("", options.data)
    call = partial(syscalls.mount, mount.source, place, type_, flags, ",".join(data))
    try:
        in_directory(directory, call)
    except OSError as error:
        raise _failed(error, doing, mount, place, options) from error
    try:
        if later:
            remount = later | syscalls.MS_BIND | syscalls.MS_REMOUNT
            syscalls.mount("", place, "", remount | _kept(place), "")
        if options.propagation:
            syscalls.mount("", place, "", options.propagation, "")
    except OSError as error:
        syscalls.umount2(place, syscalls.MNT_DETACH)
        flagged = [o for o in mount.options if o not in ("bind", "rbind")]
        raise refused(error, f"{doing}, option {','.join(flagged)}") from error


def _kept(place: str) -> int:
    """Flags that a remount must repeat: in a user namespace they are locked."""
    status = os.statvfs(place)
    kept = status.f_flag & (
        os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC | os.ST_NOATIME | os.ST_NODIRATIME
    )
    return kept | (1 << 21 if status.f_flag & os.ST_RELATIME else 0)


def _failed(
    error: OSError, doing: str, mount: Mount, place: str, options: Options
) -> PluggdError:
    explanation = ""
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        explanation = _absent(mount, place, options)
    if not explanation and mount.type not in ("bind", "rbind", ""):
        explanation = explain(mount.type, mount.source, options.data)
    return refused(error, doing, explanation)


def _absent(mount: Mount, place: str, options: Options) -> str:
    """Which of the directories that a mount names is not there."""
    paths = [place]
    if options.flags & syscalls.MS_BIND or mount.type in ("bind", "rbind"):
        paths.append(mount.source)
    for option in options.data:
        key, _, value = option.partition("=")
        if key in ("lowerdir", "upperdir", "workdir"):
            paths += [path for path in value.split(":") if path]
    for path in paths:
        if not os.path.exists(path):
            return f"{path} does not exist"
    return ""
