# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The namespaces part of the original's history, replayed: two namespaces, one blob on
disk, removal in one leaves the other, and a full namespace cannot be removed.

The transcript is the commit message that brought namespaces to containerd (af2718b01).
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from pluggd.testing import running_daemon
from pluggd.testing.images import small_layout

REDIS = "docker.io/library/redis:latest"


class Ctl:
    """pluggctl as a person types it."""

    def __init__(self, address: str, directory: Path) -> None:
        self._base = [sys.executable, "-m", "pluggd.cli.pluggctl", "--address", address]
        self._directory = directory

    def __call__(self, *arguments: str, fails: bool = False) -> str:
        result = subprocess.run(
            [*self._base, *arguments],
            cwd=self._directory,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert bool(result.returncode) == fails, result.stdout + result.stderr
        return result.stderr if fails else result.stdout

    def names(self, namespace: str) -> list[str]:
        found = json.loads(self("-n", namespace, "--json", "images", "ls"))
        return [image["name"] for image in found]


async def test_the_transcript_of_the_original_replays(tmp_path: Path) -> None:
    (tmp_path / "redis.tar").write_bytes(small_layout(REDIS).tar())

    def on_disk() -> set[str]:
        return {path.name for path in tmp_path.glob("d/root/*/blobs/*/*")}

    async with running_daemon(tmp_path / "d", subprocess=True) as daemon:
        ctl = Ctl(str(daemon.address), tmp_path)

        ctl("namespaces", "create", "foo", "mylabel=bar")
        rows = ctl("namespaces", "ls").splitlines()
        assert rows[0].split() == ["NAME", "LABELS"]
        assert rows[1].split() == ["foo", "mylabel=bar"]

        # An image in the default namespace is not in foo.
        ctl("images", "import", "redis.tar")
        assert ctl.names("default") == [REDIS]
        assert ctl.names("foo") == []

        # Imported again in foo, it is there without another byte on disk.
        before = on_disk()
        ctl("-n", "foo", "images", "import", "redis.tar")
        assert ctl.names("foo") == [REDIS]
        assert on_disk() == before

        # Removed in one, it stays in the other, whole.
        ctl("images", "rm", "--sync", REDIS)
        assert ctl.names("default") == []
        assert ctl.names("foo") == [REDIS]
        assert on_disk() == before
        ctl("-n", "foo", "images", "check")

        # A namespace that holds something cannot be removed, and says what.
        refusal = ctl("namespaces", "rm", "foo", fails=True)
        assert 'namespace "foo" must be empty' in refusal
        assert "images" in refusal
        assert "blobs" in refusal
        assert "foo" in ctl("namespaces", "ls", "-q").split()

        ctl("-n", "foo", "images", "rm", "--sync", REDIS)
        assert on_disk() == set()
        ctl("namespaces", "rm", "foo")
        assert "foo" not in ctl("namespaces", "ls", "-q").split()
