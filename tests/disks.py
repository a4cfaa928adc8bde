# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Disks that can be filled up: small ones in memory.

Needs the right to mount, which CI has; what asks for one is skipped without it.
"""

from __future__ import annotations

import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(path: Path, size: int) -> Generator[Path]:
    """A new directory `path` with so many bytes of its own, for the block."""
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode != 0:
        pytest.skip(f"may not mount a tmpfs: {done.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def fill_up(file: Path) -> None:
    """Write to the file until its disk has no room."""

    def write_for_ever() -> None:
        with file.open("ab", buffering=0) as raw:
            while True:
                raw.write(bytes(4096))

    with pytest.raises(OSError, match="No space left"):
        write_for_ever()
