# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Room kept back for the updates that free space.

On a full disk not even a deletion succeeds: it is written to the log, and from there
into the database. So blocks are allocated ahead in both: the log has its full length
from the beginning, and more by the reserve, which SQLite does not mind, as what follows
the last commit is not its; and the database has blocks behind its last page, so that
whatever the log holds can be moved. As long as they can be kept ahead there is room;
when they cannot, only what frees space may go on. Writer thread only.
"""

from __future__ import annotations

import os
from pathlib import Path

from pluggd.metastore.room import NO_ROOM

from .files import LOG


class Reserve:
    """Keeps `size` bytes allocated behind the data, and as many in the log; 0 for none.

    data: a descriptor of the database that stays open as long as any connection does:
    closing one gives up all locks of the process on the file. log_bytes: the length at
    which the log is moved into the database.
    """

    def __init__(self, path: Path, data: int, size: int, log_bytes: int) -> None:
        self._log = path / LOG
        self._data = data
        self._size = size
        self.log_size = log_bytes + size if size else log_bytes

    def ensure(self, used: int) -> bool:
        """Keep the blocks ahead of `used`, the bytes of the database; whether they are.

        Raises nothing for a full disk, OSError for a broken one.
        """
        if self._size == 0:
            return True
        if self._log.stat().st_size < self.log_size and not self._extend_log():
            return False
        # Each time the log has been moved SQLite cuts off what is behind the last page.
        end = os.fstat(self._data).st_size
        if end - used >= self._size:
            return True
        # Twice the size at a time: seldom, and never a jump that matters.
        return _allocate(self._data, end, used + 2 * self._size) or _allocate(
            self._data, end, used + self._size
        )

    def admits(self, free_inside: int) -> bool:
        """Whether an update that frees nothing may run although `ensure` said no.

        free_inside: bytes inside the database that can be used again.
        """
        return free_inside >= self._size

    def _extend_log(self) -> bool:
        # No locks are on this file, so it may be closed again.
        descriptor = os.open(self._log, os.O_RDWR | os.O_CLOEXEC)
        try:
            return _allocate(descriptor, 0, self.log_size)
        finally:
            os.close(descriptor)


def _allocate(descriptor: int, start: int, end: int) -> bool:
    try:
        os.posix_fallocate(descriptor, start, end - start)
    except OSError as error:
        if error.errno in NO_ROOM:
            return False
        raise
    return True
