# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A task's directories: the bundle that its runtime reads, and the logs.

Everything here blocks; callers use a thread.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pluggd.model.record import encode_json
from pluggd.model.types import Mount
from pluggd.mount import mount_all, unmount
from pluggd.shim import frames

from .link import Exited


class Bundle:
    """path: in the state directory, so that it ends with the machine. logs: in the root
    directory, on a disk."""

    def __init__(self, state: Path, root: Path, namespace: str, id: str) -> None:
        self.path = state / "bundles" / namespace / id
        self.logs = root / namespace / id

    @property
    def rootfs(self) -> Path:
        return self.path / "rootfs"

    def make(self) -> None:
        """Make them; what another task of this name left goes first."""
        self.remove()
        self.path.mkdir(parents=True, mode=0o711)
        self.logs.mkdir(parents=True, mode=0o700)

    def mount(self, mounts: Sequence[Mount]) -> None:
        """Raises as `pluggd.mount.mount_all`."""
        self.rootfs.mkdir(mode=0o755)
        mount_all(mounts, self.rootfs)

    def write_spec(self, spec: dict[str, Any]) -> None:
        _write(self.path / "config.json", encode_json(spec))

    def read_spec(self) -> dict[str, Any]:
        import json  # no start needs it

        found: dict[str, Any] = json.loads((self.path / "config.json").read_bytes())
        return found

    def write_process(self, key: str, process: dict[str, Any]) -> str:
        """The path of the file."""
        path = self.path / f"process-{key}.json"
        _write(path, encode_json(process))
        return str(path)

    def exit_of(self, key: str) -> Exited | None:
        """What the shim has written about the end of a process."""
        try:
            text = (self.path / f"exit-{key}").read_text("ascii")
            pid, status, at = text.split()
            return Exited(key, int(pid), int(status), int(at))
        except (OSError, ValueError):
            return None

    def runtime_log(self, key: str) -> bytes:
        with suppress(OSError):
            return (self.path / f"runtime-{key}.log").read_bytes()
        return b""

    def shim_log(self) -> str:
        """The last line that the shim wrote, "" usually."""
        with suppress(OSError):
            text = (self.path / "shim.log").read_text("utf-8", "replace")
            return text.strip().rpartition("\n")[2]
        return ""

    def forget(self, key: str) -> None:
        """Remove what belongs to one further process."""
        for name in (
            f"process-{key}.json",
            f"exit-{key}",
            f"runtime-{key}.log",
            f"{key}.pid",
        ):
            with suppress(FileNotFoundError):
                (self.path / name).unlink()
        shutil.rmtree(self.logs / key, ignore_errors=True)

    def remove(self) -> None:
        """Unmount and remove everything. Raises what keeps it from that."""
        if self.path.exists():
            # Lazily: what still looks into it must not keep the task from going.
            unmount(self.rootfs, recursive=True, lazy=True)
            if self.rootfs.exists():
                self.rootfs.rmdir()  # only if it is empty: never a snapshot's files
            shutil.rmtree(self.path)
        if self.logs.exists():
            shutil.rmtree(self.logs)
        for directory in (self.path.parent, self.path.parent.parent, self.logs.parent):
            with suppress(OSError):
                directory.rmdir()  # when it was the last

    def log_directory(self, key: str) -> Path:
        return self.logs / key


def key_of(exec_id: str) -> str:
    """What the shim calls a process."""
    return frames.EXEC + exec_id if exec_id else frames.INIT


def exec_id_of(key: str) -> str:
    return "" if key == frames.INIT else key.removeprefix(frames.EXEC)


def _write(path: Path, data: bytes) -> None:
    with open(
        os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb"
    ) as file:
        file.write(data)
