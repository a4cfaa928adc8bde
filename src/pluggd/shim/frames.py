# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the daemon and a shim say to each other: kinds of frames, and their form.

A frame is its kind (one byte), the size of its body (four, big endian) and the body:
fields joined by NUL bytes, which no path, argument or number has in it, or for STDIN the
bytes as they are. Requests on a connection are answered in order; EXITED, POSITION and
ENDED come between the answers.

A daemon meets shims that an older one started, so kinds are added and never changed.
"""

from __future__ import annotations

# --- to the shim
SPAWN = 1
"""key, "t" for a terminal, stdin, stdout, stderr, argument...: run a command that leaves
the pid of a process in `<key>.pid`, and be its parent. Answer: SPAWNED or FAILED."""
STATE = 2
"""Answer: STATES."""
WATCH = 3
"""key, "" or the position from which on the watcher reads; for its sake the process is
held up rather than output lost. POSITION and ENDED follow. Answer: POSITION, or FAILED
when there is no such process."""
STDIN = 4
"""Bytes for the watched process."""
CLOSE_STDIN = 5
"""No more bytes for it. No answer."""
RESIZE = 6
"""key, columns, rows. No answer."""
ACK = 7
"""The position up to which a watcher with a position has read. No answer."""
STOP = 8
"""End: a command that makes a process may finish first, processes are killed. No answer."""
CLOSE = 9
"""key: as CLOSE_STDIN, for a process that is not watched. No answer."""
FORGET = 10
"""key: of a process that is over, whose exit is known. No answer."""
KILL = 11
"""key, signal. Only the shim can be sure that the pid is still that process: it is the
one who reaps. Answer: DONE."""

# --- from the shim
SPAWNED = 64
"""key, pid."""
FAILED = 65
"""key, exit code of the command, what it wrote to stderr."""
STATES = 66
"""For each process: key, pid, "" or status, "" or time in ns."""
EXITED = 67
"""key, pid, status (128 + n for a signal), time in ns. Its file is on disk."""
POSITION = 68
"""Where the log of the watched process ends now."""
ENDED = 69
"""The watched process is over and all its output is in the log."""
DONE = 70
""""" or what is wrong: `finished`, `not started`."""

INIT = "init"
"""The key of a task's first process."""
EXEC = "exec-"
"""Before the id of a further one."""

STREAM = "stream"
"""For stdin: what watchers send. For stdout and stderr the log is "", and every stream
may be "null" or an absolute path."""
NULL = "null"

SOCKET = "shim.sock"
LARGEST = 1 << 20
"""Bytes of a body, at most."""


class BadFrame(Exception):
    """The other side does not keep to this module."""


def pack(kind: int, *fields: str | bytes) -> bytes:
    """A frame of fields. A single bytes field may hold anything."""
    body = b"\0".join(
        field if isinstance(field, bytes) else field.encode("utf-8", "surrogateescape")
        for field in fields
    )
    return bytes((kind,)) + len(body).to_bytes(4, "big") + body


def fields_of(body: bytes) -> list[str]:
    return [part.decode("utf-8", "surrogateescape") for part in body.split(b"\0")]


class Frames:
    """Bytes in, whole frames out."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The frames that these bytes complete. Raises BadFrame for one too large."""
        buffer = self._buffer
        buffer += data
        found: list[tuple[int, bytes]] = []
        at = 0
        while len(buffer) - at >= 5:
            size = int.from_bytes(buffer[at + 1 : at + 5], "big")
            if size > LARGEST:
                raise BadFrame(f"a frame of {size} bytes")
            end = at + 5 + size
            if len(buffer) < end:
                break
            found.append((buffer[at], bytes(buffer[at + 5 : end])))
            at = end
        del buffer[:at]
        return found
