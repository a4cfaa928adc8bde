# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The user's terminal while a process at the other end has it.

Raw, so that every key goes there; its size; and the two keys that let go of it. Knows
no daemon.
"""

from __future__ import annotations

import fcntl
import os
import struct
import sys
import termios
import tty
from collections.abc import Generator
from contextlib import contextmanager

DETACH_KEYS = b"\x10\x11"
"""ctrl-p ctrl-q, as everywhere."""


@contextmanager
def raw(fd: int) -> Generator[None]:
    """The terminal in raw mode, and as it was afterwards, whatever happens."""
    before = termios.tcgetattr(fd)
    try:
        tty.setraw(fd, termios.TCSADRAIN)  # what was typed early counts
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def window(fd: int) -> tuple[int, int]:
    """Columns and rows; 0, 0 when it does not say."""
    try:
        answer = fcntl.ioctl(fd, termios.TIOCGWINSZ, bytes(8))
    except OSError:
        return 0, 0
    rows, columns, _, _ = struct.unpack("4H", answer)
    return columns, rows


def has_terminal() -> bool:
    """Whether both ends of a conversation are here."""
    return sys.stdin.isatty() and sys.stdout.isatty()


class DetachKeys:
    """Finds the keys in what is typed; the first is held back until the next says
    whether it was meant."""

    def __init__(self) -> None:
        self._held = b""

    def take(self, data: bytes) -> tuple[bytes, bool]:
        """What to pass on, and whether to detach."""
        data, self._held = self._held + data, b""
        found = data.find(DETACH_KEYS)
        if found >= 0:
            return data[:found], True
        if data.endswith(DETACH_KEYS[:1]):
            data, self._held = data[:-1], DETACH_KEYS[:1]
        return data, False


def write_all(fd: int, data: bytes) -> None:
    """Raises BrokenPipeError when nobody reads it."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
