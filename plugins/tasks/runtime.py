# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The OCI runtime, runc or crun, as a program with arguments.

Only what both understand is used. What a runtime prints is JSON lines, of which the last
error is what a user wants to see.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trio

from pluggd.errors import FailedPrecondition, Unavailable

HYBRID = "hybrid"
HYBRID_HINT = (
    "this machine mounts cgroup v1 and v2 side by side, which crun refuses; boot with "
    "one of them (systemd.unified_cgroup_hierarchy=1), or use runc"
)


class Runtime:
    """program: its absolute path. root: where it keeps what it knows, by namespace."""

    def __init__(self, program: str, root: Path, timeout: float) -> None:
        self.program = program
        self.name = os.path.basename(program)
        self._root = root
        self._timeout = timeout

    def command(
        self, namespace: str, *arguments: str, log: str | None = None
    ) -> list[str]:
        """A whole command line. log: a file for its errors, stderr by default."""
        options = ["--root", str(self._root / self.name / namespace)]
        if log is not None:
            options += ["--log", log]
        return [self.program, *options, "--log-format", "json", *arguments]

    async def run(self, namespace: str, *arguments: str, stdin: bytes = b"") -> bytes:
        """What it wrote to stdout. Raises FailedPrecondition with what it complains
        about, Unavailable when it takes too long."""
        command = self.command(namespace, *arguments)
        what = f"{self.name} {arguments[0]}"
        with trio.move_on_after(self._timeout):
            done = await trio.run_process(
                command,
                stdin=stdin,
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
            if done.returncode:
                raise failed(what, done.returncode, done.stderr)
            return done.stdout
        raise Unavailable(
            f"{what} did not end within {self._timeout:g} seconds (runtime_timeout):"
            " unavailable"
        )

    async def status(self, namespace: str, id: str) -> str:
        """`created`, `running`, `paused`, `stopped`, or "" when it does not know it."""
        import json  # no start needs it

        try:
            state = json.loads(await self.run(namespace, "state", id))
        except (FailedPrecondition, ValueError):
            return ""
        return str(state.get("status", ""))

    def forget_namespace(self, namespace: str) -> None:
        """Remove the directories that an empty namespace leaves behind."""
        place = self._root / self.name / namespace
        for directory in (place, place.parent):
            try:
                directory.rmdir()
            except OSError:
                return  # another container is in it


def find_runtimes(
    wanted: Sequence[str], root: Path, timeout: float
) -> dict[str, Runtime]:
    """Those of the wanted programs that are there, by name, in the given order."""
    found: dict[str, Runtime] = {}
    for name in wanted:
        program = shutil.which(name)
        if program is not None:
            runtime = Runtime(os.path.abspath(program), root, timeout)
            found.setdefault(runtime.name, runtime)
    return found


def failed(what: str, code: int, output: bytes) -> FailedPrecondition:
    """The error of a command: the last one that it reported."""
    said = last_error(output) or f"it ended with {code} and said nothing"
    hint = f"; {HYBRID_HINT}" if HYBRID in said else ""
    return FailedPrecondition(f"{what}: {said}{hint}: failed precondition")


def last_error(output: bytes) -> str:
    """The last error in JSON lines, else the last line that is none, else ""."""
    import json

    plain = ""
    for line in reversed(output.decode("utf-8", "replace").splitlines()):
        try:
            entry: Any = json.loads(line)
        except ValueError:
            plain = plain or line.strip()
            continue
        match entry:
            case {"level": "error" | "fatal", "msg": str(text)}:
                return text.strip()
            case _:
                continue
    return plain
