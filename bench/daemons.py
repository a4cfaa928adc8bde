# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The daemons that are measured: how each is started in a directory of its own.

Knows command lines and paths, and nothing of what is measured.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
START = 60.0
"""Seconds that a daemon gets until it can be connected to."""


class Target:
    """A daemon that can be started in any directory."""

    name = ""

    def prepare(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)

    def socket(self, directory: Path) -> Path:
        return directory / "s.sock"

    def command(self, directory: Path) -> list[str]:
        raise NotImplementedError

    def database(self, directory: Path) -> str:
        """A pattern for the files of the metadata."""
        raise NotImplementedError


class Pluggd(Target):
    """The daemon of this tree, or another one by its command."""

    name = "pluggd"

    def __init__(self, command: str = "") -> None:
        self._command = command.split() if command else [sys.executable, "-m", "pluggd"]

    def command(self, directory: Path) -> list[str]:
        return [
            *self._command,
            "run",
            *("--root", str(directory / "root")),
            *("--state", str(directory / "state")),
            *("--address", str(self.socket(directory))),
        ]

    def database(self, directory: Path) -> str:
        return str(directory / "root" / "pluggd.metadata.v1.lmdb")


class Containerd(Target):
    """containerd without CRI, which nobody asks for anything here."""

    name = "containerd"

    def __init__(self, command: str) -> None:
        self._command = command

    def prepare(self, directory: Path) -> None:
        super().prepare(directory)
        (directory / "config.toml").write_text(
            f"""\
version = 2
root = "{directory}/root"
state = "{directory}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "{self.socket(directory)}"
[ttrpc]
  address = "{directory}/t.sock"
"""
        )

    def command(self, directory: Path) -> list[str]:
        return [self._command, "-c", str(directory / "config.toml")]

    def database(self, directory: Path) -> str:
        return str(directory / "root" / "io.containerd.metadata.v1.bolt" / "meta.db")


@contextmanager
def running(target: Target, directory: Path) -> Generator[int]:
    """A daemon in `directory` while the block runs; its process id.

    Raises RuntimeError with the end of its log when it does not come up.
    """
    target.prepare(directory)
    path = target.socket(directory)
    path.unlink(missing_ok=True)
    log = directory / "log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            target.command(directory),
            stdout=output,
            stderr=output,
            env=environment(),
        )
    try:
        _await_socket(path, process, log)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def environment() -> dict[str, str]:
    """This tree's package, also where it is not installed, and as an installed one with
    bytecode: a daemon that compiles itself anew spends most of its start on that."""
    path = os.environ.get("PYTHONPATH", "")
    source = str(ROOT / "src")
    changed = {"PYTHONPATH": f"{source}:{path}" if path else source}
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, **changed}


def _await_socket(path: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START
    while True:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
            except OSError:
                pass
            else:
                return
        if process.poll() is not None or time.monotonic() > end:
            tail = log.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{process.args!r} did not come up:\n{tail}")
        time.sleep(0.02)


def find_containerd(command: str) -> str | None:
    """The path of containerd, or None."""
    return shutil.which(command)
