# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Images of other tools go in, and come out so that other tools accept them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pluggd.testing import running_daemon

NAME = "docker.io/library/made:latest"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("umoci") and shutil.which("skopeo")),
        reason="needs umoci and skopeo (Debian packages of these names)",
    ),
]


def run(*command: str, cwd: Path) -> str:
    result = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, timeout=60
    )
    assert result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"
    return result.stdout


def make_archive(directory: Path) -> None:
    """An image made with umoci, copied with skopeo into an OCI archive."""
    run("umoci", "init", "--layout", "layout", cwd=directory)
    run("umoci", "new", "--image", "layout:latest", cwd=directory)
    run(
        "umoci",
        "unpack",
        "--rootless",
        "--image",
        "layout:latest",
        "made",
        cwd=directory,
    )
    (directory / "made/rootfs/hello").write_text("#!/bin/sh\necho hello\n")
    (directory / "made/rootfs/data").write_bytes(os.urandom(300_000))
    run("umoci", "repack", "--image", "layout:latest", "made", cwd=directory)
    run(
        "umoci", "config", "--image", "layout:latest", "--manifest.annotation",
        "org.example.kept=yes", cwd=directory,
    )  # fmt: skip
    run(
        "skopeo",
        "copy",
        "oci:layout:latest",
        f"oci-archive:in.tar:{NAME}",
        cwd=directory,
    )


async def test_an_image_of_umoci_and_skopeo_survives_the_round_trip(
    tmp_path: Path,
) -> None:
    make_archive(tmp_path)
    async with running_daemon(tmp_path / "daemon", subprocess=True) as daemon:
        base = [
            sys.executable,
            "-m",
            "pluggd.cli.pluggctl",
            "--address",
            str(daemon.address),
        ]
        run(*base, "images", "import", "in.tar", cwd=tmp_path)
        listed = json.loads(run(*base, "--json", "images", "ls", cwd=tmp_path))
        assert [image["name"] for image in listed] == [NAME]
        run(*base, "images", "export", "out.tar", NAME, cwd=tmp_path)

    def inspect(name: str) -> dict[str, object]:
        raw = run("skopeo", "inspect", "--raw", f"oci-archive:{name}", cwd=tmp_path)
        manifest: dict[str, object] = json.loads(raw)
        return manifest

    before, after = inspect("in.tar"), inspect("out.tar")
    assert after == before
    assert after["annotations"] == {"org.example.kept": "yes"}
    run("skopeo", "copy", "oci-archive:out.tar", "oci:back:latest", cwd=tmp_path)
    run(
        "umoci", "unpack", "--rootless", "--image", "back:latest", "again", cwd=tmp_path
    )
    for name in ("hello", "data"):
        original = (tmp_path / "made/rootfs" / name).read_bytes()
        assert (tmp_path / "again/rootfs" / name).read_bytes() == original
