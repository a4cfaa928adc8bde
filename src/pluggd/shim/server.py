# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The shim's loop: connections from the daemon, output, and children that end.

Run by `launch`. It ends when its first process, and every child with it, is over, all
exits are on disk and all connections have been told.
"""

from __future__ import annotations

import _socket
import os
import select
import sys
import time

from pluggd.shim import frames
from pluggd.shim.frames import Frames, fields_of, pack
from pluggd.shim.logwriter import LogWriter
from pluggd.shim.process import READ, STDIN_LIMIT, Process
from pluggd.shim.stdio import Console, accept, open_stdio

# The module signal would bring enum, 0.8 MB in each shim; what it is made of is there.
_signal = sys.modules["_signal"]
SIGKILL, SIGCHLD, SIGPIPE, SIGXFSZ = 9, 17, 13, 25
OUT_LIMIT = 1 << 20
"""Bytes that a connection may leave unread before it is cut."""
BIRTH = 60.0
"""Seconds in which the daemon must connect for the first time."""
GOODBYE = 5.0
"""Seconds for connections to take what they were told last."""
ENDING = 10.0
"""Seconds for what runs to end when the shim is told to."""


class Connection:
    """One from the daemon. moved: the log of what it watches has grown."""

    def __init__(self, sock: _socket.socket) -> None:
        self.socket = sock
        self.frames = Frames()
        self.out = bytearray()
        self.watched: Process | None = None
        self.moved = False

    def send(self, data: bytes) -> None:
        self.out += data


class Shim:
    """listener: listens in the bundle, which is the working directory. size, files: of
    the logs below `logs`."""

    def __init__(
        self, listener: _socket.socket, logs: str, size: int, files: int
    ) -> None:
        self._listener = listener
        self._logs = logs
        self._size, self._files = size, files
        self._poll = select.epoll()
        self._watched: dict[int, int] = {}
        self._connections: dict[int, Connection] = {}
        self._processes: dict[str, Process] = {}
        self._unclaimed: dict[int, tuple[int, int]] = {}
        self._wake, wake = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(wake, False)
        _signal.signal(SIGCHLD, _ignore)
        _signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self._childless = True
        self._stop_by: float | None = None
        self._known = False
        self._expected = time.monotonic() + BIRTH

    def run(self) -> None:
        deadline = None
        while not self._stopped():
            timeout = self._settle()
            if self._over():
                now = time.monotonic()
                deadline = deadline or now + GOODBYE
                if now > deadline or not any(
                    one.out for one in self._connections.values()
                ):
                    return
                timeout = deadline - now
            self._register()
            for fd, events in self._poll.poll(-1 if timeout is None else timeout):
                self._handle(fd, events)

    # --- what to wait for

    def _stopped(self) -> bool:
        """It was told to stop, and leaves nobody who would still make something: a
        command of the runtime goes on without its parent, and what it made would belong
        to no task."""
        if self._stop_by is None:
            return False
        late = time.monotonic() >= self._stop_by
        waiting = False
        for one in self._processes.values():
            if one.command and not late:
                waiting = True
            elif one.command or (one.pid and one.status is None):
                os.kill(one.command or one.pid, SIGKILL)  # ours until it is reaped
                waiting = not late
        return not waiting

    def _over(self) -> bool:
        first = self._processes.get(frames.INIT)
        if first is None:
            # Nobody is left who would start it: the daemon died in the middle.
            late = time.monotonic() > self._expected
            return (self._known or late) and not self._connections
        return (
            self._childless
            and not any(one.command for one in self._processes.values())
            and all(one.ended for one in self._processes.values())
        )

    def _settle(self) -> float | None:
        waits = [one.settle() for one in self._processes.values()]
        for connection in self._connections.values():
            if connection.moved and not connection.out:
                connection.moved = False
                if connection.watched is not None:
                    position = str(connection.watched.position)
                    connection.send(pack(frames.POSITION, position))
        if not self._known:
            waits.append(max(self._expected - time.monotonic(), 0.0))
        if self._stop_by is not None:
            waits.append(max(self._stop_by - time.monotonic(), 0.0))
        return min((wait for wait in waits if wait is not None), default=None)

    def _register(self) -> None:
        """Bring epoll to what is wanted now; a few descriptors, so all are gone through."""
        wanted = {self._wake: select.EPOLLIN, self._listener.fileno(): select.EPOLLIN}
        for fd, connection in self._connections.items():
            full = connection.watched and len(connection.watched.stdin) > STDIN_LIMIT
            wanted[fd] = 0 if full else select.EPOLLIN
            if connection.out:
                wanted[fd] |= select.EPOLLOUT
        for process in self._processes.values():
            for fd in process.readable():
                wanted[fd] = select.EPOLLIN
            if process.writable() >= 0:
                fd = process.writable()
                wanted[fd] = wanted.get(fd, 0) | select.EPOLLOUT
            if process.console is not None:
                wanted[process.console.fileno()] = select.EPOLLIN
        watched = self._watched
        for fd in [fd for fd in watched if fd not in wanted]:
            self._forget(fd)
        for fd, events in wanted.items():
            if fd not in watched:
                self._poll.register(fd, events)
            elif watched[fd] != events:
                self._poll.modify(fd, events)
            watched[fd] = events

    def _forget(self, fd: int) -> None:
        """A descriptor is about to be closed; its number may come again at once."""
        if self._watched.pop(fd, None) is None:
            return
        try:
            self._poll.unregister(fd)
        except OSError:
            return  # closed, and so gone from epoll by itself

    # --- what happened

    def _handle(self, fd: int, events: int) -> None:
        if fd == self._wake:
            os.read(self._wake, 4096)
            self._reap()
        elif fd == self._listener.fileno():
            self._accept()
        elif fd in self._connections:
            self._exchange(self._connections[fd], events)
        else:
            for process in list(self._processes.values()):
                if process.console is not None and fd == process.console.fileno():
                    self._take_terminal(process)
                    return
                if fd in process.readable() and events & ~select.EPOLLOUT:
                    process.read(fd)
                if fd == process.writable() and events & ~select.EPOLLIN:
                    process.write()

    def _take_terminal(self, process: Process) -> None:
        try:
            process.take_terminal()
        except OSError as error:
            sys.stderr.write(f"terminal of {process.key}: {error}\n")
            sys.stderr.flush()
        process.close_console()

    def _accept(self) -> None:
        try:
            sock = accept(self._listener)
        except OSError:
            return
        sock.setblocking(False)
        self._connections[sock.fileno()] = Connection(sock)
        self._known = True

    def _exchange(self, connection: Connection, events: int) -> None:
        try:
            if events & select.EPOLLOUT:
                del connection.out[: connection.socket.send(connection.out)]
            if events & ~select.EPOLLOUT:
                data = connection.socket.recv(READ)
                if not data:
                    self._lost(connection)
                    return
                for kind, body in connection.frames.feed(data):
                    self._answer(connection, kind, body)
        except BlockingIOError:
            return
        except ConnectionError:
            self._lost(connection)
            return
        except (OSError, frames.BadFrame, ValueError, IndexError) as error:
            sys.stderr.write(f"cutting a connection: {error!r}\n")
            sys.stderr.flush()
            self._lost(connection)
            return
        if len(connection.out) > OUT_LIMIT:
            self._lost(connection)

    def _lost(self, connection: Connection) -> None:
        fd = connection.socket.fileno()
        self._forget(fd)
        self._connections.pop(fd, None)
        connection.socket.close()
        for process in self._processes.values():
            process.watchers.pop(connection, None)
            if process.asker is connection:
                process.asker = None

    # --- requests

    def _answer(self, connection: Connection, kind: int, body: bytes) -> None:
        if kind == frames.STDIN:
            if connection.watched is not None:
                connection.watched.take_stdin(body)
                connection.watched.write()
            return
        fields = fields_of(body)
        process = self._processes.get(fields[0])
        if kind == frames.SPAWN:
            self._spawn(connection, fields)
        elif kind == frames.STATE:
            found: list[str] = []
            for key, one in self._processes.items():
                if one.pid:
                    done = one.status is not None
                    found += [key, str(one.pid), str(one.status) if done else ""]
                    found.append(str(one.exited_at) if done else "")
            connection.send(pack(frames.STATES, *found))
        elif kind == frames.WATCH:
            self._watch(connection, process, fields)
        elif kind == frames.CLOSE_STDIN and connection.watched is not None:
            connection.watched.close_stdin()
        elif kind == frames.ACK and connection.watched is not None:
            if connection in connection.watched.watchers:
                connection.watched.watchers[connection] = int(fields[0])
        elif kind == frames.RESIZE and process is not None:
            process.resize(int(fields[1]), int(fields[2]))
        elif kind == frames.CLOSE and process is not None:
            process.close_stdin()
        elif kind == frames.FORGET and process is not None and process.ended:
            del self._processes[process.key]
        elif kind == frames.KILL:
            connection.send(pack(frames.DONE, self._kill(process, int(fields[1]))))
        elif kind == frames.STOP:
            self._stop_by = self._stop_by or time.monotonic() + ENDING

    def _kill(self, process: Process | None, number: int) -> str:
        if process is None or not process.pid:
            return "not started"
        if process.status is not None:
            return "finished"
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            return "finished"
        return ""

    def _watch(
        self, connection: Connection, process: Process | None, fields: list[str]
    ) -> None:
        if process is None:
            connection.send(pack(frames.FAILED, fields[0], "0", "no such process"))
            return
        connection.watched = process
        connection.send(pack(frames.POSITION, str(process.position)))
        if process.ended:
            connection.send(pack(frames.ENDED))
        else:
            process.watchers[connection] = int(fields[1]) if fields[1] else -1

    def _spawn(self, connection: Connection, fields: list[str]) -> None:
        key, terminal, stdin, stdout, stderr, *arguments = fields
        old = self._processes.get(key)
        if old is not None and not old.ended:
            connection.send(pack(frames.FAILED, key, "0", "it runs already"))
            return
        console = None
        try:
            stdio = open_stdio(stdin, stdout, stderr, terminal=bool(terminal))
            if terminal:
                console = Console(f"{key}.sock")
            log = LogWriter(os.path.join(self._logs, key), self._size, self._files)
        except OSError as error:
            connection.send(pack(frames.FAILED, key, "0", str(error)))
            return
        # Half of what is kept: a watcher that is held for is never rotated away.
        hold = min(self._size * (self._files - 1) // 2, 1 << 20)
        process = Process(key, stdio, log, console, max(hold, READ), self._forget)
        try:
            process.command = os.posix_spawn(
                arguments[0],
                arguments,
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, fd, number)
                    for number, fd in enumerate(stdio.given)
                ],
                setsigdef=[SIGPIPE, SIGXFSZ, SIGCHLD],
                setsigmask=[],
            )
        except OSError as error:
            process.close()
            connection.send(pack(frames.FAILED, key, "0", f"{arguments[0]}: {error}"))
            return
        finally:
            stdio.close_given()
        process.asker = connection
        self._childless = False
        self._processes[key] = process

    # --- children

    def _reap(self) -> None:
        while True:
            try:
                pid, wait_status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self._childless = True
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(wait_status)
            self._reaped(pid, 128 - code if code < 0 else code, time.time_ns())

    def _reaped(self, pid: int, status: int, at: int) -> None:
        for process in self._processes.values():
            if process.command == pid:
                self._started(process, status)
                return
            if process.pid == pid and process.status is None:
                self._exited(process, status, at)
                return
        if any(process.command for process in self._processes.values()):
            self._unclaimed[pid] = (status, at)

    def _started(self, process: Process, code: int) -> None:
        """Its command has ended: the process is there, or never will be."""
        process.command = 0
        text = ""
        if code == 0:
            try:
                with open(f"{process.key}.pid", encoding="ascii") as file:
                    process.pid = int(file.read())
                if process.console is not None:
                    process.take_terminal()  # it connected, and we have not looked yet
                elif process.expects_terminal and process.terminal < 0:
                    raise OSError("no terminal")
            except (OSError, ValueError) as error:
                code, text = 1, f"the runtime left no process: {error}"
        process.close_console()
        if code != 0:
            for fd in process.readable():
                process.read(fd)
            text = text or process.early.decode("utf-8", "replace").strip()
            self._answered(process, pack(frames.FAILED, process.key, str(code), text))
            process.close()
            del self._processes[process.key]
            return
        self._answered(process, pack(frames.SPAWNED, process.key, str(process.pid)))
        exit_ = self._unclaimed.pop(process.pid, None)
        if not any(one.command for one in self._processes.values()):
            self._unclaimed.clear()
        if exit_ is not None:
            self._exited(process, *exit_)

    def _answered(self, process: Process, answer: bytes) -> None:
        if process.asker is not None:
            process.asker.send(answer)
            process.asker = None

    def _exited(self, process: Process, status: int, at: int) -> None:
        """On disk first, then to whoever listens."""
        text = f"{process.pid} {status} {at}\n"
        try:
            write_durably(f"exit-{process.key}", text.encode())
        except OSError as error:  # a full disk; who listens now is told all the same
            sys.stderr.write(f"exit of {process.key}, {text.strip()}: {error}\n")
            sys.stderr.flush()
        process.exited(status, at)
        frame = pack(frames.EXITED, process.key, str(process.pid), str(status), str(at))
        for connection in self._connections.values():
            connection.send(frame)


def _ignore(*_: object) -> None:
    """The wakeup descriptor tells it."""


def write_durably(name: str, data: bytes) -> None:
    """A file in the working directory, whole or not at all, also after a power cut."""
    temporary = f".{name}"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(temporary, name)
    directory = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def main(arguments: list[str]) -> None:
    """arguments: the listening descriptor, directory of the logs, bytes and files."""
    fd, logs, size, files = arguments
    os.set_inheritable(int(fd), False)
    listener = _socket.socket(fileno=int(fd))
    listener.setblocking(False)
    Shim(listener, logs, int(size), int(files)).run()
    try:
        os.unlink(frames.SOCKET)
    except FileNotFoundError:
        return
