# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is acknowledged is on the disk, not only with the kernel.

A killed process proves nothing of the kind: what it wrote stays in the page cache. So
the system calls are watched.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.metadata_flush_child import UPDATES

CHILD = Path(__file__).parent / "metadata_flush_child.py"
CALLS = "openat,write,writev,pwrite64,pwritev,fdatasync,fsync"
FLUSHES = ("fdatasync", "fsync")

CALL = re.compile(r"(?P<tid>\d+) +(?P<name>\w+)\((?P<rest>.*)")
RESUMED = re.compile(r"(?P<tid>\d+) +<\.\.\. (?P<name>\w+) resumed>(?P<rest>.*)")
DESCRIPTOR = re.compile(r"(?P<fd>\d+)<(?P<path>[^>]*)>")


def steps(trace: str) -> Iterator[tuple[str, str, str]]:
    """begun or ended, name and arguments of each call, in order."""
    pending: dict[str, str] = {}
    for line in trace.splitlines():
        if found := RESUMED.match(line):
            yield "ended", found["name"], pending.pop(found["tid"], "") + found["rest"]
        elif found := CALL.match(line):
            yield "begun", found["name"], found["rest"]
            if found["rest"].endswith("<unfinished ...>"):
                pending[found["tid"]] = found["rest"]
            else:
                yield "ended", found["name"], found["rest"]


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
@pytest.mark.parametrize(
    ("provider", "file"), [("lmdb", "data.mdb"), ("sqlite", "-wal")]
)
def test_an_update_is_flushed_before_it_is_acknowledged(
    provider: str, file: str, tmp_path: Path
) -> None:
    log = tmp_path / "trace"
    watch = ["strace", "-f", "-y", "-s", "16", "-e", f"trace={CALLS}", "-o", str(log)]
    child = [sys.executable, "-P", str(CHILD), provider, str(tmp_path / "store")]
    path = os.pathsep.join(p for p in sys.path if p)
    done = subprocess.run(
        [*watch, *child],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        timeout=120,
        check=False,
    )
    if b"PTRACE" in done.stderr:
        pytest.skip("no other process may be watched here")
    assert done.returncode == 0, done.stderr.decode()
    synchronous: set[str] = set()  # descriptors whose writes wait for the disk
    written = flushed = acknowledged = 0
    dirty = False
    for when, name, rest in steps(log.read_text()):
        if name == "openat":
            opened = DESCRIPTOR.search(rest.rpartition("=")[2])
            if when == "ended" and "SYNC" in rest and opened and file in opened["path"]:
                synchronous.add(opened["fd"])
            continue
        of = DESCRIPTOR.match(rest)
        assert of is not None, rest
        if of["fd"] == "1" and "acknowledged" in rest:
            if when == "begun":
                acknowledged += 1
                assert written, "acknowledged, and nothing was written"
                assert flushed, "acknowledged, and nothing was flushed"
                assert not dirty, "acknowledged before it was flushed"
                written = flushed = 0
        elif not of["path"].endswith(file):
            continue
        elif name in FLUSHES:
            if when == "ended":
                dirty, flushed = False, flushed + 1
        elif of["fd"] in synchronous:
            assert not dirty, "what says where the data is, before the data"
            written, flushed = written + 1, flushed + (when == "ended")
        elif when == "begun":
            dirty, written = True, written + 1
    assert acknowledged == UPDATES
