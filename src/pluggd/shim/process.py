# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""One process of a container: its streams, its log, who watches it, how it ended."""

from __future__ import annotations

import fcntl
import os
import sys
import time

from pluggd.shim.frames import ENDED, POSITION, pack
from pluggd.shim.stdio import Console, Stdio

TYPE_CHECKING = False  # checkers know the name; typing itself would be 1 MB
if TYPE_CHECKING:
    from collections.abc import Callable

    from pluggd.shim.logwriter import LogWriter
    from pluggd.shim.server import Connection

TIOCSWINSZ = 0x5414
READ = 1 << 16
STDIN_LIMIT = 1 << 18
"""Bytes for a process that does not read them, before we stop taking more."""
DRAIN = 2.0
"""Seconds without output after which an ended process has none left: another process
may hold its pipe for ever."""
EARLY = 4096


class Process:
    """key: names it (`frames`). hold: bytes by which a watcher that must not lose
    output may lag before the process is held up. closing: told each descriptor that is
    about to be closed, whose number may come again at once."""

    def __init__(
        self,
        key: str,
        stdio: Stdio,
        log: LogWriter,
        console: Console | None,
        hold: int,
        closing: Callable[[int], None],
    ) -> None:
        self.key = key
        self.pid = 0
        self.command = 0
        self.status: int | None = None
        self.exited_at = 0
        self.ended = False
        self.console = console
        self.expects_terminal = console is not None
        self.terminal = -1
        self.early = b""
        """What its command wrote to stderr, for an error."""
        self.asker: Connection | None = None
        self.watchers: dict[Connection, int] = {}
        """With the position that each has read, or -1 for one that may lose output."""
        self.stdin = bytearray()
        self._closing = False
        self._size: tuple[int, int] | None = None
        self._log = log
        self._hold = hold
        self._before_close = closing
        self._input = stdio.input
        self._outputs = {fd: stream for stream, fd in stdio.outputs.items()}
        self._quiet_since = 0.0

    # --- output

    @property
    def position(self) -> int:
        return self._log.end

    @property
    def held(self) -> bool:
        """Whether to leave its output where it is for now."""
        slowest = min((at for at in self.watchers.values() if at >= 0), default=-1)
        return slowest >= 0 and self._log.end - slowest > self._hold

    def readable(self) -> list[int]:
        """The descriptors to wait for."""
        return [] if self.held else list(self._outputs)

    def writable(self) -> int:
        """The descriptor that waits for room, or -1."""
        return self._input if self.stdin else -1

    def read(self, fd: int) -> None:
        try:
            data = os.read(fd, READ)
        except BlockingIOError:
            return
        except OSError:  # EIO: the last process has closed its terminal
            data = b""
        self._quiet_since = time.monotonic()
        if data:
            if not self.pid and self._outputs[fd] == 2:
                self.early = (self.early + data)[-EARLY:]
            self._log.append(self._outputs[fd], data)
            self._tell()
        else:
            self._forget(fd)

    def _forget(self, fd: int) -> None:
        del self._outputs[fd]
        if fd != self.terminal:
            self._close(fd)
        elif self._input != fd:
            self._close(fd)
            self.terminal = -1

    def _tell(self) -> None:
        for watcher in self.watchers:
            watcher.moved = True

    # --- input

    def take_stdin(self, data: bytes) -> None:
        if self._input >= 0 and not self._closing:
            self.stdin += data

    def write(self) -> None:
        """Pass on what is there for stdin."""
        if self._input < 0:
            return
        try:
            while self.stdin:
                del self.stdin[: os.write(self._input, self.stdin[:READ])]
        except BlockingIOError:
            return
        except OSError:  # nobody reads it any more
            self._drop_input()
            return
        if self._closing and self._input != self.terminal:
            self._drop_input()

    def close_stdin(self) -> None:
        if self._input >= 0 and self._input == self.terminal:
            self.stdin += b"\x04"  # what a person types to say it
        else:
            self._closing = True
        self.write()

    def _drop_input(self) -> None:
        self.stdin.clear()
        fd, self._input = self._input, -1
        if fd != self.terminal:
            self._close(fd)

    # --- terminal

    def take_terminal(self) -> None:
        """The runtime has connected with it."""
        assert self.console is not None
        self.terminal = self._input = self.console.receive()
        self._outputs[self.terminal] = 1
        if self._size is not None:
            self.resize(*self._size)

    def resize(self, columns: int, rows: int) -> None:
        self._size = (columns, rows)
        if self.terminal >= 0:
            size = b"".join(
                number.to_bytes(2, sys.byteorder) for number in (rows, columns, 0, 0)
            )
            try:
                fcntl.ioctl(self.terminal, TIOCSWINSZ, size)
            except OSError:
                return  # it is gone with its last process

    def close_console(self) -> None:
        if self.console is not None:
            self._before_close(self.console.fileno())
            self.console.close()
            self.console = None

    # --- end

    def exited(self, status: int, at: int) -> None:
        self.status, self.exited_at = status, at
        self._quiet_since = time.monotonic()
        if self._input >= 0 and self._input != self.terminal:
            self._drop_input()

    def settle(self) -> float | None:
        """End the log when there is nothing more to come; else seconds to wait, or
        None for something to happen."""
        if self.status is None or self.ended:
            return None
        if self._outputs:
            if self.held:
                return None
            left = self._quiet_since + DRAIN - time.monotonic()
            if left > 0:
                return left
        self.close()
        self._log.finish()
        self.ended = True
        for watcher in list(self.watchers):
            watcher.send(pack(POSITION, str(self.position)) + pack(ENDED))
        self.watchers.clear()
        return None

    def close(self) -> None:
        """Close all that is open."""
        fds = {*self._outputs, self._input, self.terminal} - {-1}
        self._outputs.clear()
        self._input = self.terminal = -1
        for fd in fds:
            self._close(fd)
        self.close_console()

    def _close(self, fd: int) -> None:
        self._before_close(fd)
        os.close(fd)
