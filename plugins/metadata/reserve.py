# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Room kept back for the updates that free space.

LMDB copies what it changes, so on a full disk not even a deletion succeeds. The blocks
behind the last page of the data file are therefore allocated ahead: a file of its own
would, once given up, be eaten by whoever writes to the disk first. As long as they can
be kept ahead there is room; when they cannot, only what frees space may go on into
them. Writer thread only; it knows files and sizes, and nothing of transactions.
"""

from __future__ import annotations

import os
from pathlib import Path

from pluggd.metastore.room import NO_ROOM


class Reserve:
    """Keeps `size` bytes allocated behind the end of what is in use; 0 for none."""

    def __init__(self, file: Path, size: int) -> None:
        self._file = file
        self._size = size
        # Up to here the file is known to have blocks.
        self._end = 0

    def ensure(self, used: int) -> bool:
        """Keep the blocks ahead of `used`, the bytes in use; whether they are.

        Raises nothing for a full disk, OSError for a broken one.
        """
        if self._size == 0 or self._end - used >= self._size:
            return True
        # Twice the size at a time: seldom, and never a jump that matters.
        return self._allocate(used + 2 * self._size) or self._allocate(
            used + self._size
        )

    def admits(self, free_inside: int) -> bool:
        """Whether an update that frees nothing may run although `ensure` said no.

        free_inside: bytes inside the database that can be used again.
        """
        return free_inside >= self._size

    def trim(self, used: int) -> None:
        """Give back what a failed commit left behind the end of the file.

        Its pages belong to nothing, but their blocks would stay taken.
        """
        end = max(used, self._end)
        if self._file.stat().st_size > end:
            os.truncate(self._file, end)

    def _allocate(self, end: int) -> bool:
        descriptor = os.open(self._file, os.O_WRONLY | os.O_CLOEXEC)
        try:
            # The first time from 0, which closes holes that LMDB may have left.
            os.posix_fallocate(descriptor, self._end, end - self._end)
        except OSError as error:
            if error.errno in NO_ROOM:
                return False
            raise
        finally:
            os.close(descriptor)
        self._end = end
        return True
