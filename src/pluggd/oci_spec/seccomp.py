# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The default list of system calls, from `seccomp.json` beside this file.

The file says what is always allowed, and what with a capability or on an architecture;
here it becomes the profile for one container.
"""

from __future__ import annotations

import functools
from collections.abc import Collection
from importlib import resources

from pluggd.model.record import Record, decode_json
from pluggd.oci_spec.records import Seccomp, Syscall, SyscallArg

ALLOW = "SCMP_ACT_ALLOW"
ERRNO = "SCMP_ACT_ERRNO"
EPERM, ENOSYS = 1, 38


class Conditional(Record, frozen=True):
    """names are allowed when the container has one of `capabilities` (any, where none
    is named), runs on one of `architectures`, and the arguments match."""

    names: list[str]
    capabilities: list[str] = []
    without: list[str] = []
    architectures: list[str] = []
    args: list[SyscallArg] = []
    errno: int = 0


class Profile(Record, frozen=True):
    """architectures: those of the kernel by Go's name of the machine."""

    architectures: dict[str, list[str]]
    allowed: list[str]
    conditional: list[Conditional]


@functools.cache
def profile() -> Profile:
    data = resources.files("pluggd.oci_spec").joinpath("seccomp.json").read_bytes()
    return decode_json(data, Profile, "seccomp.json")


def default_seccomp(capabilities: Collection[str], architecture: str) -> Seccomp:
    """For a container with these capabilities, on a machine by Go's name (`amd64`).

    What is not allowed fails with EPERM, clone3 with ENOSYS, so that libraries fall back.
    """
    found = profile()
    syscalls = [Syscall(names=found.allowed, action=ALLOW)]
    for one in found.conditional:
        if one.capabilities and not set(one.capabilities) & set(capabilities):
            continue
        if set(one.without) & set(capabilities):
            continue
        if one.architectures and architecture not in one.architectures:
            continue
        if one.errno:
            syscalls.append(Syscall(names=one.names, action=ERRNO, errno_ret=one.errno))
        else:
            syscalls.append(Syscall(names=one.names, action=ALLOW, args=one.args))
    return Seccomp(
        default_action=ERRNO,
        default_errno_ret=EPERM,
        architectures=found.architectures.get(architecture, []),
        syscalls=syscalls,
    )
