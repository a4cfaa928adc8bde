# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Mount options as text, and as the flags and data of mount(2). Pure."""

from __future__ import annotations

from collections.abc import Iterable

from pluggd.errors import InvalidArgument
from pluggd.struct import Struct

_SET = {
    "ro": 1,
    "nosuid": 2,
    "nodev": 4,
    "noexec": 8,
    "sync": 16,
    "remount": 32,
    "mand": 64,
    "dirsync": 128,
    "noatime": 1024,
    "nodiratime": 2048,
    "bind": 4096,
    "rbind": 4096 | 16384,
    "relatime": 1 << 21,
    "strictatime": 1 << 24,
}
_CLEAR = {
    "rw": 1,
    "suid": 2,
    "dev": 4,
    "exec": 8,
    "async": 16,
    "nomand": 64,
    "atime": 1024,
    "diratime": 2048,
    "norelatime": 1 << 21,
    "nostrictatime": 1 << 24,
}
_PROPAGATION = {
    "unbindable": 1 << 17,
    "runbindable": 1 << 17 | 16384,
    "private": 1 << 18,
    "rprivate": 1 << 18 | 16384,
    "slave": 1 << 19,
    "rslave": 1 << 19 | 16384,
    "shared": 1 << 20,
    "rshared": 1 << 20 | 16384,
}


class Options(Struct, frozen=True):
    """flags: of mount(2). propagation: of a second call, 0 for none. data: the rest."""

    flags: int
    propagation: int
    data: tuple[str, ...]


def parse_options(options: Iterable[str]) -> Options:
    """Sort options into what mount(2) takes them as; a later one overrides.

    Raises InvalidArgument for `loop`, which is no option of the kernel.
    """
    flags = propagation = 0
    data: list[str] = []
    for option in options:
        if option in ("", "defaults"):
            continue
        if option == "loop":
            raise InvalidArgument(
                'mount option "loop" is done by mount(8) and not by the kernel: give a '
                "block device as the source: invalid argument"
            )
        if option in _SET:
            flags |= _SET[option]
        elif option in _CLEAR:
            flags &= ~_CLEAR[option]
        elif option in _PROPAGATION:
            propagation = _PROPAGATION[option]
        else:
            data.append(option)
    return Options(flags, propagation, tuple(data))
