# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A daemon in a process of its own, and a client that knows nothing but msgpack.

The client shares no code with the daemon, so that a mistake in pluggd's own wire code
cannot hide on both sides. Everything blocks, with a timeout.
"""

from __future__ import annotations

import itertools
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgpack

TIMEOUT = 30.0
"""Seconds after which silence is a failure."""


class Refusal(NamedTuple):
    """An error as the wire has it: `code: text`."""

    code: str
    text: str


class RawSocket:
    """One connection. Errors are returned, not raised."""

    def __init__(self, address: str | Path, namespace: str = "") -> None:
        self.namespace = namespace
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT)
        try:
            self.sock.connect(str(address))
        except OSError:
            self.sock.close()
            raise
        self.notifications: list[list[Any]] = []
        self._unpacker = msgpack.Unpacker(
            max_buffer_size=1 << 30, unicode_errors="surrogateescape"
        )
        self._ids = itertools.count()

    def __enter__(self) -> RawSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, *messages: object) -> None:
        """Also to a daemon that has closed already: what it said before is still there
        to be read."""
        with suppress(BrokenPipeError):
            self.sock.sendall(b"".join(self.pack(message) for message in messages))

    @staticmethod
    def pack(message: object) -> bytes:
        packed: bytes = msgpack.packb(message, unicode_errors="surrogateescape")
        return packed

    def message(self) -> list[Any] | None:
        """The next message; None at the end of the connection."""
        while True:
            for message in self._unpacker:
                found: list[Any] = message
                return found
            try:
                data = self.sock.recv(1 << 20)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self._unpacker.feed(data)

    def begin(self, method: str, arguments: object = None, **metadata: object) -> int:
        """Send a request; its msgid."""
        msgid = next(self._ids)
        if self.namespace and "namespace" not in metadata:
            metadata["namespace"] = self.namespace
        self.send([0, msgid, method, [arguments, metadata]])
        return msgid

    def answer(self, msgid: int) -> Any:
        """The result of a request, or its Refusal; notifications are kept."""
        while True:
            message = self.message()
            assert message is not None, "the daemon closed the connection"
            if message[0] == 2:
                self.notifications.append(message)
                continue
            assert message[:2] == [1, msgid], message
            if message[2] is not None:
                return Refusal(*message[2].split(": ", 1))
            return message[3]

    def call(self, method: str, arguments: object = None, **metadata: object) -> Any:
        return self.answer(self.begin(method, arguments, **metadata))

    def result(self, method: str, arguments: object = None, **metadata: object) -> Any:
        """The result of a call that must succeed."""
        answer = self.call(method, arguments, **metadata)
        assert not isinstance(answer, Refusal), answer
        return answer

    def refusal(
        self, method: str, arguments: object = None, **metadata: object
    ) -> Refusal:
        """The error of a call that must fail."""
        answer = self.call(method, arguments, **metadata)
        assert isinstance(answer, Refusal), answer
        return answer

    def closed(self) -> list[list[Any]]:
        """What still comes until the daemon closes the connection."""
        messages: list[list[Any]] = []
        while (message := self.message()) is not None:
            messages.append(message)
        return messages


class DaemonProcess:
    """`pluggd run` with its directories below one directory; may be started again."""

    def __init__(self, directory: Path, config: str = "") -> None:
        self.directory = directory
        self.address = directory / "s"
        self.log_file = directory / "log"
        self.config = directory / "config.toml"
        directory.mkdir(parents=True, exist_ok=True)
        self.config.write_text(config)
        self.process: subprocess.Popen[bytes] | None = None
        self.log_file.touch()

    @property
    def arguments(self) -> list[str]:
        return [
            *(sys.executable, "-m", "pluggd", "run"),
            *("--config", str(self.config)),
            *("--root", str(self.root)),
            *("--state", str(self.directory / "state")),
            *("--address", str(self.address)),
        ]

    @property
    def root(self) -> Path:
        return self.directory / "root"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def spawn(
        self,
        before: Callable[[], None] | None = None,
        flags: Sequence[str] = (),
    ) -> None:
        """Start it, and do not wait. before: run in the new process. flags: more of
        them, of which the last counts."""
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.arguments, *flags],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=before,
            )

    def start(self, before: Callable[[], None] | None = None) -> DaemonProcess:
        """Start it and wait until it answers."""
        self.spawn(before)
        self.wait_until_it_answers()
        return self

    def wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                with RawSocket(self.address) as raw:
                    raw.result("introspection.v1.server")
                    return
            except (OSError, AssertionError):
                assert self.process is not None
                assert self.process.poll() is None, self.log
                assert time.monotonic() < deadline, self.log
                time.sleep(0.01)

    def wait(self, timeout: float = TIMEOUT) -> int:
        assert self.process is not None
        return self.process.wait(timeout)

    def send_signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> int:
        """Stop it cleanly; its exit code."""
        self.send_signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        if self.process.poll() is None:
            self.send_signal(signal.SIGKILL)
            self.wait()

    def connect(self, namespace: str = "") -> RawSocket:
        return RawSocket(self.address, namespace)

    def files(self) -> list[str]:
        """What the content store has on disk: blobs and ingests with their sizes."""
        return sorted(
            f"{path.relative_to(self.root)} {path.stat().st_size}"
            for path in self.root.rglob("*")
            if path.is_file() and ("blobs" in path.parts or "ingest" in path.parts)
        )


@contextmanager
def daemon_process(directory: Path, config: str = "") -> Generator[DaemonProcess]:
    """A daemon that runs while the block does, whatever the block does to it."""
    daemon = DaemonProcess(directory, config)
    try:
        daemon.start()
        yield daemon
    finally:
        if daemon.process is not None:
            daemon.kill()
