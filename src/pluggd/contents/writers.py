# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Whether a file that was given away is still being written to: the kernel's read leases."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Generator
from contextlib import contextmanager

from pluggd.errors import FailedPrecondition, NotImplemented_


@contextmanager
def without_writers(path: str, ref: str) -> Generator[int]:
    """A read-only descriptor of a file that nobody can write to in this block.

    A read lease is granted only while no descriptor and no mapping for writing
    exists anywhere (fcntl(2)). Raises FailedPrecondition when there is one, or
    when one came up meanwhile (the lease is then broken by the kernel).
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        take_lease(fd, ref)
        yield fd
        if fcntl.fcntl(fd, fcntl.F_GETLEASE) != fcntl.F_RDLCK:
            raise still_open(ref)
    finally:
        os.close(fd)


def take_lease(fd: int, ref: str) -> None:
    # A broken lease is announced by SIGIO, which would end the daemon; SIGURG is
    # ignored unless somebody asks for it.
    fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        raise still_open(ref) from None
    except OSError as error:
        raise NotImplemented_(
            f'ref "{ref}": the file system cannot tell whether a descriptor is open '
            f"for writing ({os.strerror(error.errno or 0).lower()}); write the bytes by "
            f"messages: not implemented"
        ) from error


def still_open(ref: str) -> FailedPrecondition:
    return FailedPrecondition(
        f'"{ref}" is still open for writing through a descriptor; close it first: '
        f"failed precondition"
    )
