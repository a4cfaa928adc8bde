# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Writes the log of one process: bounded, rotated, and never in the way of the process.

A disk that is full costs output and not the process: what could not be written is
counted as lost, and readers see it as they see what was rotated away.
"""

from __future__ import annotations

import os
import time

from pluggd.shim.logformat import END, file_name, record, starts


class LogWriter:
    """A log in `directory`, which is made: `files` files of about `size` bytes.

    end: the position behind the last record.
    """

    def __init__(self, directory: str, size: int, files: int) -> None:
        self._directory = directory
        self._size = size
        self._files = files
        self._fd = -1
        self._begun = 0
        self.end = 0
        os.makedirs(directory, 0o700, exist_ok=True)
        self._rotate()

    def append(self, stream: int, data: bytes) -> None:
        if self._fd < 0 or self.end - self._begun >= self._size:
            self._rotate()
        whole = record(time.time_ns(), stream, data)
        written = -1
        if self._fd >= 0:
            try:
                written = os.write(self._fd, whole)
            except OSError:
                written = -1
        self.end += len(whole)
        if written != len(whole):
            # Half a record must not be followed by another: a new file, which begins
            # behind what is lost, or none until there is room again.
            self._close()

    def finish(self) -> None:
        """Say that nothing follows."""
        self.append(END, b"")
        self._close()

    def _rotate(self) -> None:
        self._close()
        path = os.path.join(self._directory, file_name(self.end))
        try:
            self._fd = os.open(
                path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
            )
            self._begun = self.end
            for old in starts(os.listdir(self._directory))[: -self._files]:
                os.unlink(os.path.join(self._directory, file_name(old)))
        except OSError:
            return  # no room: what comes is lost, and the next record tries again

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
