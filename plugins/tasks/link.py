# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Connections to a shim: to start it, to ask it, and to watch one of its processes."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import trio

import pluggd
from pluggd.errors import Unavailable
from pluggd.shim import frames
from pluggd.shim.frames import Frames, fields_of, pack
from pluggd.struct import Struct

PACKAGES = Path(pluggd.__file__).resolve().parent.parent
LAUNCH = PACKAGES / "pluggd" / "shim" / "launch.py"
ANSWER = 30.0
"""Seconds within which a shim answers what it can answer at once."""


class Exited(Struct, frozen=True):
    """A process has ended; times in ns."""

    key: str
    pid: int
    status: int
    at: int


class SpawnFailed(Exception):
    """The command that should have left a process ended with this code."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class ShimGone(Unavailable):
    """There is no shim any more, so that its processes are over, too."""


async def launch(bundle: Path, logs: Path, size: int, files: int) -> None:
    """Start a shim for a bundle; when this returns, it listens."""
    done = await trio.run_process(
        [
            *(sys.executable, "-I", "-S", str(LAUNCH), str(bundle), str(PACKAGES)),
            *(str(logs), str(size), str(files)),
        ],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_stdout=True,
        capture_stderr=True,
    )
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise Unavailable(f"the shim did not start: {said}: unavailable")


async def connect(bundle: Path) -> trio.SocketStream:
    """Raises OSError when no shim listens there."""
    # Through a descriptor, because a bundle's path may be too long for a socket's.
    directory = os.open(bundle, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    sock = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        await sock.connect(f"/proc/self/fd/{directory}/{frames.SOCKET}")
    except BaseException:
        sock.close()
        raise
    finally:
        os.close(directory)
    return trio.SocketStream(sock)


class Link:
    """The daemon's own connection to a shim. `run` must run for anything to arrive.

    lost: set when the shim is gone.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._sending = trio.Lock()
        self._spawns: dict[str, _Waiter] = {}
        self._queue: deque[_Waiter] = deque()
        self.lost = trio.Event()
        credentials = stream.socket.getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")
        )
        self.pid: int = struct.unpack("3i", credentials)[0]

    async def run(self, on_exit: Callable[[Exited], None]) -> None:
        """Take in what the shim says until it is gone."""
        arrived = Frames()
        try:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                async for data in self._stream:
                    for kind, body in arrived.feed(bytes(data)):
                        self._handle(kind, fields_of(body), on_exit)
        finally:
            with trio.CancelScope(shield=True):
                await self._stream.aclose()
            self.lost.set()
            for waiter in (*self._spawns.values(), *self._queue):
                waiter.answered.set()

    def _handle(
        self, kind: int, fields: list[str], on_exit: Callable[[Exited], None]
    ) -> None:
        if kind == frames.EXITED:
            key, pid, status, at = fields
            on_exit(Exited(key, int(pid), int(status), int(at)))
        elif kind in (frames.SPAWNED, frames.FAILED):
            if (waiter := self._spawns.pop(fields[0], None)) is not None:
                waiter.answer(kind, fields)
        elif kind in (frames.STATES, frames.DONE) and self._queue:
            self._queue.popleft().answer(kind, fields)

    async def spawn(
        self,
        key: str,
        terminal: bool,
        streams: tuple[str, str, str],
        command: list[str],
    ) -> int:
        """The pid. Raises SpawnFailed, Unavailable."""
        waiter = self._spawns[key] = _Waiter()
        flag = "t" if terminal else ""
        await self._send(pack(frames.SPAWN, key, flag, *streams, *command))
        kind, fields = await self._answer(waiter)
        if kind == frames.FAILED:
            raise SpawnFailed(int(fields[1]), fields[2])
        return int(fields[1])

    async def states(self) -> dict[str, tuple[int, Exited | None]]:
        """Pid and exit of each process, by key."""
        _, fields = await self._ask(pack(frames.STATE))
        found: dict[str, tuple[int, Exited | None]] = {}
        for at in range(0, len(fields) - 3, 4):
            key, pid, status, when = fields[at : at + 4]
            exit_ = Exited(key, int(pid), int(status), int(when)) if status else None
            found[key] = (int(pid), exit_)
        return found

    async def kill(self, key: str, signal: int) -> str:
        """ "", or `finished` or `not started`. Raises ShimGone, Unavailable."""
        _, fields = await self._ask(pack(frames.KILL, key, str(signal)))
        return fields[0]

    async def tell(self, kind: int, *fields: str) -> None:
        """Send what has no answer."""
        await self._send(pack(kind, *fields))

    async def _ask(self, request: bytes) -> tuple[int, list[str]]:
        waiter = _Waiter()
        async with self._sending:
            self._queue.append(waiter)
            await self._write(request)
        with trio.move_on_after(ANSWER):
            return await self._answer(waiter)
        raise Unavailable(f"the shim (pid {self.pid}) does not answer: unavailable")

    async def _answer(self, waiter: _Waiter) -> tuple[int, list[str]]:
        await waiter.answered.wait()
        if waiter.kind == 0:
            raise _gone()
        return waiter.kind, waiter.fields

    async def _send(self, data: bytes) -> None:
        async with self._sending:
            await self._write(data)

    async def _write(self, data: bytes) -> None:
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise _gone() from None


class _Waiter:
    def __init__(self) -> None:
        self.answered = trio.Event()
        self.kind = 0
        self.fields: list[str] = []

    def answer(self, kind: int, fields: list[str]) -> None:
        self.kind, self.fields = kind, fields
        self.answered.set()


def _gone() -> ShimGone:
    return ShimGone("the task's shim is gone: unavailable")


class Watch:
    """A connection that watches one process.

    position: where its log ends, as far as is known. ended: nothing follows.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._sending = trio.Lock()
        self._changed = trio.Event()
        self.position = -1
        self.ended = False

    async def run(self) -> None:
        """Take in news until there will be none."""
        arrived = Frames()
        try:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                async for data in self._stream:
                    for kind, body in arrived.feed(bytes(data)):
                        if kind == frames.POSITION:
                            self.position = int(body)
                        # FAILED: the shim knows no such process any more.
                        self.ended |= kind in (frames.ENDED, frames.FAILED)
                    self._changed.set()
                    self._changed = trio.Event()
        finally:
            self.ended = True
            self._changed.set()

    async def beyond(self, position: int) -> None:
        """Wait until the log ends behind a position, or nothing follows."""
        while self.position <= position and not self.ended:
            await self._changed.wait()

    async def send(self, kind: int, *fields: str | bytes) -> bool:
        """Whether the shim was there to take it."""
        async with self._sending:
            try:
                await self._stream.send_all(pack(kind, *fields))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return False
        return True

    async def finish(self) -> None:
        """Let the shim take all that was sent."""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._stream.send_eof()


@asynccontextmanager
async def watching(
    bundle: Path, key: str, since: int | None = None
) -> AsyncGenerator[Watch | None]:
    """Watch a process; None when its shim is gone.

    since: the position from which on nothing may be lost.
    """
    try:
        stream = await connect(bundle)
    except OSError:
        yield None
        return
    async with stream:
        watch = Watch(stream)
        if not await watch.send(frames.WATCH, key, "" if since is None else str(since)):
            yield None
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch.run)
            await watch.beyond(-1)
            yield watch
            nursery.cancel_scope.cancel()
