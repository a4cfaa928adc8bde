# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Memory for the pieces of blobs does not come from the kernel each time."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys

import pytest

from pluggd.core.allocator import keep_freed_memory

PIECES = """
import resource, sys
from pluggd.core.allocator import keep_freed_memory

def faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def take_and_drop() -> None:
    pieces = [bytes(b"x" * 131072) for _ in range(8)]
    b"".join(pieces)

kept = keep_freed_memory() if sys.argv[1] == "keep" else False
take_and_drop()
before = faults()
for _ in range(50):
    take_and_drop()
print(kept, faults() - before)
"""

glibc = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="another C library has no mallopt"
)


def run(what: str, **environment: str) -> tuple[bool, int]:
    """Whether it said so, and the page faults of fifty times a MiB in pieces and joined."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    out = subprocess.run(
        [sys.executable, "-c", PIECES, what],
        env={**clean, **environment},
        capture_output=True,
        check=True,
        text=True,
    ).stdout.split()
    return out[0] == "True", int(out[1])


@glibc
def test_what_was_freed_is_used_again() -> None:
    kept, faults = run("keep")
    assert kept
    _, without = run("leave")
    assert faults < 256 < 5000 < without


@glibc
def test_the_environment_goes_first() -> None:
    assert run("keep", MALLOC_TRIM_THRESHOLD_="131072")[0] is False
    assert run("keep", GLIBC_TUNABLES="glibc.malloc.arena_max=2")[0] is False


def test_another_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_mallopt(name: str | None) -> object:
        return object()

    monkeypatch.setattr(ctypes, "CDLL", without_mallopt)
    assert keep_freed_memory() is False
