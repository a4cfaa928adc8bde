# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""One worker process, as the daemon sees it: a socket that takes jobs.

It imports `plugins.diff.work` from this very folder, in a checkout and in a wheel
alike, without running the `__init__` of the plugin, which would import trio.
"""

from __future__ import annotations

import array
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import trio

from pluggd import errors
from pluggd.errors import Internal, ResourceExhausted, Unavailable

Message = dict[str, Any]

MAX_MESSAGE = 1 << 20

_BOOT = """\
import importlib, sys, types
folder, *arguments = sys.argv[1:]
for name in ("plugins", "plugins.diff"):
    package = sys.modules[name] = types.ModuleType(name)
    package.__path__ = []
package.__path__ = [folder]
importlib.import_module("plugins.diff.work.worker").main(arguments)
"""

_COMMAND = [sys.executable, "-P", "-c", _BOOT, str(Path(__file__).resolve().parent)]


class WorkerFailed(Exception):
    """A bug in the worker: its traceback."""


class Worker:
    """`start`, then `run` jobs one after the other, then `kill`."""

    def __init__(self, process: trio.Process, sock: trio.socket.SocketType) -> None:
        self._process = process
        self._sock = sock

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @classmethod
    async def start(cls) -> Worker:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            for sock in (ours, theirs):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MAX_MESSAGE)
            path = os.pathsep.join(entry for entry in sys.path if entry)
            try:
                process = await trio.lowlevel.open_process(
                    [*_COMMAND, str(theirs.fileno())],
                    env={**os.environ, "PYTHONPATH": path},
                    pass_fds=(theirs.fileno(),),
                    stdin=subprocess.DEVNULL,
                )
            except BaseException:
                ours.close()
                raise
        return cls(process, trio.socket.from_stdlib_socket(ours))

    async def run(
        self,
        job: Message,
        fds: Sequence[int],
        progress: Callable[[Message], None],
    ) -> Message:
        """What the job answers. Raises its PluggdError; WorkerFailed for a bug in it,
        Internal and ResourceExhausted when the process died of it."""
        data = json.dumps(job).encode()
        rights = array.array("i", fds)
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)]
        try:
            await self._sock.sendmsg([data], ancillary)
        except OSError as error:
            raise Unavailable(f"the worker does not answer: {error}") from error
        while True:
            try:
                answer = await self._sock.recv(MAX_MESSAGE)
            except OSError:
                answer = b""
            if not answer:
                raise await self._death()
            message: Message = json.loads(answer)
            if "progress" in message:
                progress(message["progress"])
            elif "done" in message:
                done: Message = message["done"]
                return done
            elif "error" in message:
                raise errors.from_code(*message["error"])
            else:
                raise WorkerFailed(message["bug"])

    async def kill(self) -> None:
        """End it at once, whatever it does, and wait until it is gone."""
        self._sock.close()
        self._process.kill()
        with trio.CancelScope(shield=True):
            # It was killed: this takes as long as the kernel needs to clear it away.
            await self._process.wait()

    async def _death(self) -> Exception:
        with trio.move_on_after(5):
            await self._process.wait()
        code = self._process.returncode
        if code == -signal.SIGKILL:
            return ResourceExhausted(
                "the worker process was killed, probably because the machine is short of "
                "memory: resource exhausted"
            )
        return Internal(f"the worker process ended with {code}")
