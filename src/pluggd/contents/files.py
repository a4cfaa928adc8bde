# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Operations on local files: which error a failed one is, and doing them whole.

Everything here blocks and runs in a thread.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager

from pluggd.errors import DataLoss, Internal, PluggdError, ResourceExhausted

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE}
_DAMAGED = {errno.EIO, errno.EBADMSG, errno.EUCLEAN}
_BUFFER = 4 << 20


def disk_error(error: OSError, doing: str) -> PluggdError:
    """The class that says whose matter a failed file operation is."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in _FULL:
        return ResourceExhausted(f"{doing}: {reason.lower()}: resource exhausted")
    if error.errno in _DAMAGED:
        return DataLoss(f"{doing}: {reason.lower()}: data loss")
    return Internal(f"{doing}: {reason.lower()}")


@contextmanager
def failing_as(doing: str) -> Generator[None]:
    """Turn an OSError of the block into an error that says what was being done."""
    try:
        yield
    except OSError as error:
        raise disk_error(error, doing) from error


class SyncFailed(DataLoss):
    """The disk did not take the bytes; the file is gone, or poisoned if it could not go."""


def hash_descriptor(
    fd: int, algorithm: str, pause: Callable[[], None] = lambda: None
) -> str:
    """The digest of a whole file. `pause` is called between pieces and may raise.

    Read and not mapped, though that is a tenth slower: a bad sector or a full tmpfs
    under a mapping is SIGBUS, which ends the daemon; here it is an OSError.
    """
    hasher = hashlib.new(algorithm)
    size = os.fstat(fd).st_size
    buffer = bytearray(min(_BUFFER, size) or 1)
    view = memoryview(buffer)
    offset = 0
    while count := os.preadv(fd, [buffer], offset):
        hasher.update(view[:count])
        offset += count
        pause()
    return f"{algorithm}:{hasher.hexdigest()}"


def write_all(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        count = os.pwrite(fd, view, offset)
        view = view[count:]
        offset += count


def write_new(path: str, data: bytes) -> int:
    """A new file with these bytes, mode 0444, not synced; its descriptor. On failure
    there is none."""
    with failing_as(f"write {len(data)} bytes to {path}"):
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        fd = os.open(path, flags, 0o444)
        try:
            write_all(fd, data, 0)
        except OSError:
            os.close(fd)
            os.unlink(path)
            raise
    return fd


def unlink(path: str) -> int:
    """Bytes freed; 0 when there is no such file."""
    try:
        size = os.stat(path).st_size
        os.unlink(path)
    except FileNotFoundError:
        return 0
    return size


def sync_directory(path: str) -> None:
    """Make the names in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
