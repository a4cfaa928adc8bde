# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads the log of a process while its shim writes it.

The writer is another process, so what is read is checked: a record that is not whole yet
ends the piece, and one that never will be, because a newer file exists, is skipped and
counted.
"""

from __future__ import annotations

import os
from pathlib import Path

from pluggd.services.tasks import Output
from pluggd.shim.logformat import END, HEADER, STDERR, file_name, header, starts

PIECE = 1 << 18
"""Bytes that are read at a time."""


class LogReader:
    """position: what is read next. done: the process is over and all is read.
    recent: what is read next was just written (for the caller's use)."""

    def __init__(self, directory: Path, position: int) -> None:
        self._directory = directory
        self._file = -1
        self._begun = -1
        self._lost = 0
        self._aligned = position == 0
        self.recent = False
        self.position = position
        self.done = False

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = self._begun = -1

    def read(self) -> list[Output]:
        """What is there now, about PIECE bytes of it at most; [] for nothing."""
        while not self.done:
            if self._file < 0 and not self._open():
                return []
            found = self._parse(self._pread())
            if found or self.done:
                return found
            newer = self._newer()
            if newer is None:
                return []
            # Now this file is complete; it may have grown since we looked.
            found = self._parse(self._pread())
            if found or self.done:
                return found
            self._skip(newer)
        return []

    def _pread(self) -> bytes:
        return os.pread(self._file, PIECE, self.position - self._begun)

    def _skip(self, position: int) -> None:
        self._lost += max(position - self.position, 0)
        self.position = max(position, self.position)
        self.close()

    def _newer(self) -> int | None:
        """Where the next file begins."""
        later = [start for start in self._starts() if start > self._begun]
        return min(later, default=None)

    def _starts(self) -> list[int]:
        try:
            return starts(os.listdir(self._directory))
        except FileNotFoundError:
            return []

    def _open(self) -> bool:
        for start in self._candidates():
            try:
                self._file = os.open(
                    self._directory / file_name(start), os.O_RDONLY | os.O_CLOEXEC
                )
            except FileNotFoundError:
                continue  # rotated away in between
            self._begun = start
            if self.position < start:
                self._lost += start - self.position
                self.position = start
            elif not self._aligned:
                self._align()
            self._aligned = True
            return True
        return False

    def _align(self) -> None:
        """Go on from the next record: a caller's position may be any number."""
        wanted, self.position = self.position, self._begun
        while self.position < wanted:
            data = self._pread()
            at = 0
            while len(data) - at >= HEADER and self.position + at < wanted:
                size = HEADER + header(data[at : at + HEADER])[2]
                if at + size > len(data):
                    break
                at += size
            if not at:
                return  # behind the end: what comes next is next
            self.position += at

    def _candidates(self) -> list[int]:
        """The file that holds the position, then those behind it."""
        found = self._starts()
        holding = [start for start in found if start <= self.position]
        return [*holding[-1:], *(start for start in found if start > self.position)]

    def _parse(self, data: bytes) -> list[Output]:
        found: list[Output] = []
        at = 0
        while len(data) - at >= HEADER:
            time, stream, size = header(data[at : at + HEADER])
            end = at + HEADER + size
            if end > len(data):
                break
            if stream == END:
                # Not passed: who reads on from here is told the end again.
                self.done = True
                break
            self.position += HEADER + size
            found.append(
                Output(
                    data=data[at + HEADER : end],
                    stream="stderr" if stream == STDERR else "stdout",
                    time=time,
                    position=self.position,
                    lost=self._lost,
                )
            )
            self._lost = 0
            at = end
        return found


def joined(items: list[Output]) -> list[Output]:
    """The same output in fewer pieces: neighbours of one stream as one."""
    found: list[Output] = []
    for item in items:
        last = found[-1] if found else None
        if last is not None and last.stream == item.stream and not item.lost:
            found[-1] = Output(
                data=last.data + item.data,
                stream=last.stream,
                time=last.time,
                position=item.position,
                lost=last.lost,
            )
        else:
            found.append(item)
    return found
