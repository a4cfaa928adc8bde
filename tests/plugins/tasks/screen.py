# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A program at a real terminal, as a person has it: type, look, change the window."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import struct
import termios
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import trio


class Screen:
    """process: what runs. seen: all that it showed so far."""

    def __init__(self, process: trio.Process, master: int) -> None:
        self.process = process
        self.seen = ""
        self._master = master
        self._decode = codecs.getincrementaldecoder("utf-8")().decode

    def resize(self, columns: int, rows: int) -> None:
        size = struct.pack("4H", rows, columns, 0, 0)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    async def shows(self, text: str) -> None:
        """Wait until this has been shown. Fails when it is not, with what was."""
        with trio.move_on_after(15):
            while text not in self.seen and await self._read():
                continue
        assert text in self.seen, repr(self.seen)

    async def ends(self) -> int:
        """Its exit code, after it has shown all."""
        while await self._read():
            continue
        return await self.process.wait()

    def is_raw(self) -> bool:
        local = termios.tcgetattr(self._master)[3]
        return not local & termios.ICANON

    async def _read(self) -> bool:
        await trio.lowlevel.wait_readable(self._master)
        try:
            data = os.read(self._master, 4096)
        except OSError:  # the last one has closed it
            return False
        self.seen += self._decode(data)
        return bool(data)


@asynccontextmanager
async def at_terminal(
    command: Sequence[str], columns: int = 91, rows: int = 33
) -> AsyncGenerator[Screen]:
    master, slave = pty.openpty()
    size = struct.pack("4H", rows, columns, 0, 0)
    fcntl.ioctl(slave, termios.TIOCSWINSZ, size)
    # These, which pytest sets, would stand for the size of this terminal.
    unset = ("COLUMNS", "LINES")
    process = await trio.lowlevel.open_process(
        command,
        env={key: value for key, value in os.environ.items() if key not in unset},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(slave)
    try:
        yield Screen(process, master)
    finally:
        if process.poll() is None:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
        os.close(master)
