# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""One daemon per root and per socket: a lock file each, with its owner's pid.

flock, because the kernel drops it with the process, whatever ends it, so that nobody
ever has to remove a stale file. The files stay: unlinking one that somebody is about to
lock would let two in.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from pluggd.errors import FailedPrecondition

PATIENCE = 1.0
"""Seconds that a daemon which is just ending gets to let go."""


class AlreadyRunning(FailedPrecondition):
    """Another daemon has this root or this socket."""


@asynccontextmanager
async def locked(path: Path, what: str, way_out: str) -> AsyncGenerator[None]:
    """Hold the lock; raises AlreadyRunning with the owner's pid within 2 seconds.

    what: names the locked thing in the message. way_out: how to get another one.
    """
    holder = _Holder(path)
    try:
        if not await _acquire(holder):
            owner = holder.owner()
            raise AlreadyRunning(
                f"{what} is in use by another pluggd"
                + (f" (pid {owner})" if owner else "")
                + f", which holds {path}: stop it, or {way_out}: failed precondition"
            )
        holder.write_owner()
        yield
    finally:
        holder.close()


async def _acquire(holder: _Holder) -> bool:
    with trio.move_on_after(PATIENCE):
        while not holder.try_lock():  # noqa: ASYNC110 - nobody tells when flock is free
            await trio.sleep(0.05)
        return True
    return holder.try_lock()


class _Holder:
    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # A child forked for a long job must not keep the lock of a daemon that was
        # killed meanwhile.
        os.register_at_fork(after_in_child=self.close)

    def try_lock(self) -> bool:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def owner(self) -> str:
        text = os.pread(self._fd, 32, 0).decode("ascii", "replace").strip()
        return text if text.isdigit() else ""

    def write_owner(self) -> None:
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
