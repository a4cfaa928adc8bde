# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Pulls of one image from one registry, by each daemon with its own client.

The registry is Debian's docker-registry on localhost; the image has one gzipped layer
of 200 MB that does not compress, so that the network, the hash and the disk are what
is measured. Pull and unpack together, as both clients do it when asked for nothing else.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from daemons import Target, environment

TOOLS = ("docker-registry", "skopeo")
FILES = 200  # of a megabyte each
OCI = "application/vnd.oci.image"


def missing() -> str:
    """What the group needs and is not there, or ""."""
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    return f"{' and '.join(absent)} not installed" if absent else ""


@contextmanager
def registry(directory: Path) -> Generator[str]:
    """A registry that has the image, while the block runs; the image's name."""
    directory.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = directory / "config.yml"
    config.write_text(
        f"""\
version: 0.1
storage: {{filesystem: {{rootdirectory: {directory}/data}}}}
log: {{level: error, accesslog: {{disabled: true}}}}
http: {{addr: 127.0.0.1:{port}}}
"""
    )
    name = f"127.0.0.1:{port}/bench/large:latest"
    with (directory / "log").open("ab") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(config)], stdout=log, stderr=log
        )
    try:
        _await(port)
        if not (directory / "data").exists():
            layout = directory / "layout"
            _make(layout)
            subprocess.run(
                [
                    *("skopeo", "copy", "--quiet", "--dest-tls-verify=false"),
                    *(f"oci:{layout}:large", f"docker://{name}"),
                ],
                check=True,
            )
            shutil.rmtree(layout)
        yield name
    finally:
        process.kill()
        process.wait()


def pull(target: Target, directory: Path, pid: int, name: str, rep: int) -> list[Any]:
    """Pull once; lines of figures: seconds, and MiB by which the daemon's peak grew."""
    address = str(target.socket(directory))
    if target.name == "pluggd":
        client = [sys.executable, "-m", "pluggd.cli.pluggctl", "-a", address]
        command = [*client, "images", "pull", "-q", name]
    else:
        command = ["ctr", "-a", address, "images", "pull", "--plain-http", name]
    before = _memory(pid, "VmRSS")
    began = time.perf_counter()
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment(), check=False
    )
    took = time.perf_counter() - began
    grown = max(0, _memory(pid, "VmHWM") - before) / 1024
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
    common = {"target": target.name, "clients": 1, "rep": rep}
    return [
        {**common, "bench": "pull_unpack_200m", "value": took},
        {**common, "bench": "pull_memory_200m", "value": grown},
    ]


def _memory(pid: int, field: str) -> int:
    """KiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise RuntimeError(f"process {pid} has no {field}")


def _await(port: int) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError("docker-registry does not listen")


def _make(layout: Path) -> None:
    blobs = layout / "blobs/sha256"
    blobs.mkdir(parents=True)

    def blob(data: bytes, media_type: str) -> dict[str, Any]:
        value = hashlib.sha256(data).hexdigest()
        (blobs / value).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{value}", "size": len(data)}

    numbers = random.Random(1)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for number in range(FILES):
            entry = tarfile.TarInfo(f"data/{number}")
            entry.size = 1 << 20
            tar.addfile(entry, io.BytesIO(numbers.randbytes(entry.size)))
    tarred = buffer.getvalue()
    config = {
        "os": "linux",
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine],
        "config": {},
        "rootfs": {
            "type": "layers",
            "diff_ids": [f"sha256:{hashlib.sha256(tarred).hexdigest()}"],
        },
    }
    layer = blob(gzip.compress(tarred, 1, mtime=0), f"{OCI}.layer.v1.tar+gzip")
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{OCI}.manifest.v1+json",
        "config": blob(json.dumps(config).encode(), f"{OCI}.config.v1+json"),
        "layers": [layer],
    }
    entry = blob(json.dumps(manifest).encode(), f"{OCI}.manifest.v1+json")
    names = {"org.opencontainers.image.ref.name": "large"}
    index = {"schemaVersion": 2, "manifests": [{**entry, "annotations": names}]}
    (layout / "index.json").write_text(json.dumps(index))
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
