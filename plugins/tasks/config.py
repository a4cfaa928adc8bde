# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The options of tasks, as an operator writes them."""

from __future__ import annotations

from pluggd.errors import InvalidArgument
from pluggd.model.record import Record


class Config(Record, frozen=True):
    """Section `[plugins."pluggd.tasks.v1.oci"]` of config.toml."""

    runtimes: list[str] = []
    """Programs that run containers, as names on PATH or absolute paths. The first that is there runs those that ask for none by its name. Default, when empty: runc, crun."""

    log_size: int = 16 << 20
    """Bytes in one file of a process's log. Default 16 MiB."""

    log_files: int = 2
    """Files that are kept of a process's log; the oldest is dropped. Default 2, at least 2."""

    runtime_timeout: float = 60.0
    """Seconds that one command of a runtime may take. Default 60."""

    def __post_init__(self) -> None:
        """Raises InvalidArgument naming the key, its value and its range."""
        if self.log_size < 65536:
            raise InvalidArgument(
                f"log_size = {self.log_size}: must be at least 65536: invalid argument"
            )
        if self.log_files < 2:
            raise InvalidArgument(
                f"log_files = {self.log_files}: must be at least 2: invalid argument"
            )
        if self.runtime_timeout <= 0:
            raise InvalidArgument(
                f"runtime_timeout = {self.runtime_timeout}: must be more than 0:"
                " invalid argument"
            )
