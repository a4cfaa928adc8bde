# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""mount(2) and its relatives, through the C library; errors are OSError.

Nothing here knows what an option means.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

MS_RDONLY = 1
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384

MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8

CLONE_FS = 0x200

# The same number on every architecture, as all calls since Linux 5.1.
_SYS_FSOPEN = 430
_SYS_FSCONFIG = 431
_FSOPEN_CLOEXEC = 1
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_CMD_CREATE = 6

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_ulong,
    ctypes.c_char_p,
)
_libc.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)
_libc.unshare.argtypes = (ctypes.c_int,)
_libc.syncfs.argtypes = (ctypes.c_int,)
_libc.syscall.restype = ctypes.c_long


def mount(source: str, target: str, type_: str, flags: int, data: str) -> None:
    """Raises OSError."""
    result = _libc.mount(
        os.fsencode(source),
        os.fsencode(target),
        os.fsencode(type_) or None,
        flags,
        os.fsencode(data) or None,
    )
    _check(result)


def umount2(target: str, flags: int) -> None:
    """Raises OSError; EINVAL when nothing is mounted there."""
    _check(_libc.umount2(os.fsencode(target), flags))


def unshare(flags: int) -> None:
    """For the calling thread alone. Raises OSError."""
    _check(_libc.unshare(flags))


def syncfs(fd: int) -> None:
    """Write all of a file system to its disk. Raises OSError."""
    _check(_libc.syncfs(fd))


def fsopen(type_: str) -> int:
    """A descriptor of a file system that is being configured. Raises OSError."""
    return _syscall(_SYS_FSOPEN, os.fsencode(type_), _FSOPEN_CLOEXEC)


def fsconfig(fd: int, command: int, key: str = "", value: str = "") -> None:
    """Raises OSError; what the kernel has to say can be read from `fd`."""
    _syscall(
        _SYS_FSCONFIG,
        fd,
        command,
        os.fsencode(key) if key else None,
        os.fsencode(value) if command == FSCONFIG_SET_STRING else None,
        0,
    )


def _syscall(number: int, *args: int | bytes | None) -> int:
    passed: list[Any] = [
        ctypes.c_long(arg) if isinstance(arg, int) else ctypes.c_char_p(arg)
        for arg in args
    ]
    result: int = _libc.syscall(ctypes.c_long(number), *passed)
    _check(result)
    return result


def _check(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
