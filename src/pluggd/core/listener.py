# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The unix socket: bound, owned and guarded before anybody can connect, removed at the end.

trio has no helper for this. A socket file outlives its process, so a dead one has to be
replaced; whoever calls holds the lock of the address, so it cannot be a live pluggd.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from pluggd.errors import FailedPrecondition, InvalidArgument

MAX_PATH = 107
"""Bytes of sun_path on Linux, less the terminating NUL."""
BACKLOG = 1024


def validate_address(address: Path) -> None:
    """Raises InvalidArgument for a path that no socket can have."""
    length = len(os.fsencode(address))
    if length > MAX_PATH:
        raise InvalidArgument(
            f"socket path {address} has {length} bytes, the system allows {MAX_PATH}:"
            " choose a shorter [rpc] address or --address: invalid argument"
        )


@asynccontextmanager
async def open_listener(
    address: Path, *, uid: int = -1, gid: int = -1, mode: int = 0o660
) -> AsyncGenerator[socket.socket]:
    """Listen on a unix socket while the block runs.

    Owner, group and mode are set between bind and listen: until listen, nobody can
    connect. Raises FailedPrecondition when something else is there.
    """
    validate_address(address)
    _remove_dead(address)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.bind(os.fspath(address))
        identity = _identity(address)
        try:
            if uid != -1 or gid != -1:
                _chown(address, uid, gid)
            os.chmod(address, mode)
            sock.listen(BACKLOG)
            yield sock
        finally:
            # Not if somebody removed it and bound his own in the meantime.
            if _identity(address) == identity:
                os.unlink(address)
    finally:
        sock.close()


def _chown(address: Path, uid: int, gid: int) -> None:
    try:
        os.chown(address, uid, gid)
    except PermissionError as error:
        raise FailedPrecondition(
            f"cannot give {address} to uid {uid}, gid {gid}: {error.strerror}; check"
            " [rpc] uid and gid: failed precondition"
        ) from error


def _identity(address: Path) -> tuple[int, int] | None:
    try:
        status = os.lstat(address)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _remove_dead(address: Path) -> None:
    try:
        status = os.lstat(address)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise FailedPrecondition(
            f"{address} exists and is no socket: move it away, or choose another"
            " --address: failed precondition"
        )
    # No pluggd is there, as we hold its lock; but it may be another program's socket.
    # A full backlog answers EAGAIN, so only ECONNREFUSED means that nobody listens.
    with socket.socket(
        socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK
    ) as probe:
        if probe.connect_ex(os.fspath(address)) != errno.ECONNREFUSED:
            raise FailedPrecondition(
                f"another program listens on {address}: choose another --address:"
                " failed precondition"
            )
    os.unlink(address)
