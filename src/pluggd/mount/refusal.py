# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the kernel refused about a mount, in its own words.

mount(2) says EINVAL and leaves the rest to dmesg. fsopen(2) takes the same options one
by one and answers with text: asked after a failure, it names the culprit.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import suppress

from pluggd.errors import (
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    PluggdError,
    ResourceExhausted,
)
from pluggd.mount import syscalls

_CLASSES: dict[int, type[PluggdError]] = {
    errno.EPERM: PermissionDenied,
    errno.EACCES: PermissionDenied,
    errno.ENOENT: NotFound,
    errno.ENOTDIR: InvalidArgument,
    errno.EINVAL: InvalidArgument,
    errno.ENODEV: FailedPrecondition,
    errno.EBUSY: FailedPrecondition,
    errno.ENOSPC: ResourceExhausted,
    errno.ENOMEM: ResourceExhausted,
    errno.EMFILE: ResourceExhausted,
}
_ADVICE = {
    errno.EPERM: "mounting needs CAP_SYS_ADMIN: run as root, or in a user namespace",
    errno.ENODEV: "the kernel does not know this type of file system",
    errno.EBUSY: "something is using it",
}

_LONGEST = 255
"""Bytes of a value that fsconfig(2) takes; mount(2) takes longer ones."""


def refused(error: OSError, doing: str, explanation: str = "") -> PluggdError:
    """The error that a failed system call is, and what can be done about it."""
    number = error.errno or 0
    class_ = _CLASSES.get(number, Internal)
    parts = [doing, (os.strerror(number) if number else str(error)).lower()]
    text = ": ".join(parts)
    more = [part for part in (explanation, _ADVICE.get(number, "")) if part]
    if more:
        text += f" ({'; '.join(more)})"
    return class_(f"{text}: {class_.code.replace('_', ' ')}")


def explain(type_: str, source: str, options: Sequence[str]) -> str:
    """Which option the kernel does not take, or why the whole fails; "" if it does not
    say. Mounts nothing."""
    try:
        fd = syscalls.fsopen(type_)
    except OSError:
        return ""
    try:
        culprit = _configure(fd, source, options)
        text = _messages(fd)
    finally:
        os.close(fd)
    if culprit and text:
        return f'option "{culprit}": {text}'
    return f'option "{culprit}" was refused' if culprit else text


def _configure(fd: int, source: str, options: Sequence[str]) -> str:
    """The first refused option, or ""."""
    if source:
        options = [f"source={source}", *options]
    whole = True
    for option in options:
        if len(os.fsencode(option.partition("=")[2])) > _LONGEST:
            whole = False
            continue
        key, equals, value = option.partition("=")
        command = syscalls.FSCONFIG_SET_STRING if equals else syscalls.FSCONFIG_SET_FLAG
        try:
            syscalls.fsconfig(fd, command, key, value)
        except OSError:
            return option if len(option) <= 200 else f"{option[:200]}..."
    if whole:
        with suppress(OSError):
            syscalls.fsconfig(fd, syscalls.FSCONFIG_CMD_CREATE)
    return ""


def _messages(fd: int) -> str:
    """What the kernel logged for this file system: one message for each read."""
    found: list[str] = []
    for _ in range(20):
        try:
            message = os.read(fd, 4096)
        except OSError:
            break
        level, _, text = message.decode(errors="replace").strip().partition(" ")
        if level in ("e", "w") and text and text not in found:
            found.append(text)
    return "; ".join(found)
