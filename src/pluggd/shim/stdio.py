# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The descriptors that a process is given, and those that stay with the shim."""

from __future__ import annotations

import _socket
import os
import stat
import sys

from pluggd.shim.frames import NULL, STREAM

TYPE_CHECKING = False  # checkers know the name; typing itself would be 1 MB
if TYPE_CHECKING:
    from typing import Any

SCM_RIGHTS = 1


class Stdio:
    """given: what becomes 0, 1 and 2 of the command. inputs: the end to write stdin to,
    or -1. outputs: the ends to read, by stream (1 or 2)."""

    def __init__(self) -> None:
        self.given: list[int] = []
        self.input = -1
        self.outputs: dict[int, int] = {}

    def close_given(self) -> None:
        for fd in self.given:
            os.close(fd)
        self.given = []


def open_stdio(stdin: str, stdout: str, stderr: str, *, terminal: bool) -> Stdio:
    """Raises OSError for a path that cannot be opened; nothing stays open then.

    With a terminal the command itself has no streams but stderr, for its own errors.
    """
    found = Stdio()
    try:
        _open(found, "" if terminal else stdin, reading=True)
        _open(found, NULL if terminal else stdout, stream=1)
        _open(found, "" if terminal else stderr, stream=2)
    except BaseException:
        found.close_given()
        for fd in (found.input, *found.outputs.values()):
            if fd >= 0:
                os.close(fd)
        raise
    return found


def _open(found: Stdio, what: str, *, stream: int = 0, reading: bool = False) -> None:
    if what == NULL or (reading and not what):
        found.given.append(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
    elif reading and what == STREAM:
        reader, found.input = os.pipe()
        found.given.append(reader)
        os.set_blocking(found.input, False)
    elif not what:
        found.outputs[stream], writer = os.pipe()
        found.given.append(writer)
        os.set_blocking(found.outputs[stream], False)
    else:
        _open_path(found, what, reading=reading)


def _open_path(found: Stdio, path: str, *, reading: bool) -> None:
    """A file as it is. A fifo without waiting for its other end: a process that writes
    into one that nobody reads waits there, as it would without us."""
    try:
        fifo = stat.S_ISFIFO(os.stat(path).st_mode)
    except FileNotFoundError:
        if reading:
            raise
        fifo = False
    if fifo and reading:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        found.given.append(fd)
        # Until CLOSE_STDIN: a client that comes and goes is not the end of stdin.
        found.input = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.set_blocking(fd, True)
    elif fifo:
        found.given.append(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    elif reading:
        found.given.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    else:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        found.given.append(os.open(path, flags, 0o640))


def accept(listener: _socket.socket) -> _socket.socket:
    """As `socket.accept`, which is made of this; the type stubs leave it out."""
    take: Any = getattr(listener, "_accept")  # noqa: B009
    fd, _ = take()
    return _socket.socket(fileno=fd)


class Console:
    """The socket to which a runtime sends the terminal that it made."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        self._socket.bind(path)
        self._socket.listen(1)
        self._socket.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> int:
        """The terminal, once the runtime has connected."""
        peer = accept(self._socket)
        peer.settimeout(5.0)
        try:
            _, ancillary, _, _ = peer.recvmsg(4096, _socket.CMSG_SPACE(4))
        finally:
            peer.close()
        for level, kind, data in ancillary:
            if level == _socket.SOL_SOCKET and kind == SCM_RIGHTS and len(data) >= 4:
                terminal = int.from_bytes(data[:4], sys.byteorder)
                os.set_inheritable(terminal, False)
                os.set_blocking(terminal, False)
                return terminal
        raise OSError("the runtime sent no terminal")

    def close(self) -> None:
        self._socket.close()
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            return
