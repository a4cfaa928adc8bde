# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""An image with all that a layer can hold, made by umoci, and a way to compare trees.

Nothing of it is written or read by pluggd, so what comes out of the daemon is compared
with what another implementation makes of the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import struct
from pathlib import Path
from typing import Any

from tests.plugins.registry.registry_kit import (
    add_entry,
    add_zstd,
    descriptor_of,
    run,
)
from tests.plugins.tasks.kit import make_rootfs

UNSTATED = (".", "layers", "layers/0", "layers/1", "layers/2")
"""Directories whose time is that of unpacking: no layer has an entry for them, and umoci
leaves its own time on the root."""

ANNOTATIONS = {"org.example.kept": "yes", "org.example.größe": "1"}
MANY = 12
SECONDS = 1_700_000_000

# cap_net_raw+ep, as the kernel stores it (version 2).
CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)

Entry = tuple[Any, ...]


def make_layout(directory: Path) -> Path:
    """`app`: a system that runs, with every kind of file, in many layers; `index`: it
    for two platforms, the other one being `other`; `zstd`: it, compressed otherwise."""
    layout = directory / "layout"
    run("umoci", "init", "--layout", str(layout))
    run("umoci", "new", "--image", f"{layout}:app")
    bundle = directory / "bundle"
    run("umoci", "unpack", "--image", f"{layout}:app", str(bundle))
    shutil.rmtree(bundle / "rootfs")
    _fill(make_rootfs(bundle / "rootfs"))
    run("umoci", "repack", "--image", f"{layout}:app", str(bundle))
    _insert_more(layout, directory)
    run(
        *("umoci", "config", "--image", f"{layout}:app", "--config.cmd", "/bin/sh"),
        *("--config.env", "PATH=/bin"),
        *(f"--manifest.annotation={key}={value}" for key, value in ANNOTATIONS.items()),
    )
    run("umoci", "tag", "--image", f"{layout}:app", "other")
    run("umoci", "config", "--image", f"{layout}:other", "--architecture", "s390x")
    file = directory / "only-there"
    file.write_text("another machine's")
    run("umoci", "insert", "--image", f"{layout}:other", str(file), "/only-there")
    _make_index(layout)
    add_zstd(layout, "app", "zstd")
    return layout


def _fill(root: Path) -> None:
    """Every kind of file, owner, mode, time and attribute that a layer can carry."""
    data = root / "data"
    for name in ("kept", "gone", "opaque", "replaced"):
        (data / name).mkdir(parents=True)
        for number in range(3):
            (data / name / f"file-{number}").write_text(f"{name} {number}")
    (data / "large").write_bytes(os.urandom(3 << 20))
    (data / "empty").touch()
    (data / "name with spaces, ü and \n").write_text("odd")
    (data / ("long-" * 40)).write_text("long")
    (data / "symbolic").symlink_to("../data/kept")
    (data / "dangling").symlink_to("/nowhere/at/all")
    os.link(data / "large", data / "hard-1")
    os.link(data / "large", data / "kept" / "hard-2")
    os.mkfifo(data / "fifo", 0o640)
    os.mknod(data / "device", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.chown(data / "kept" / "file-0", 1000, 1001)
    os.chown(data / "kept" / "file-1", 3_000_000, 3_000_001)
    os.lchown(data / "symbolic", 7, 8)
    (data / "setuid").write_text("s")
    os.chown(data / "setuid", 5, 6)
    (data / "setuid").chmod(0o6755)
    (data / "sticky").mkdir()
    (data / "sticky").chmod(0o1777)
    (data / "closed").mkdir()
    (data / "closed" / "in").write_text("closed")
    (data / "closed").chmod(0o000)
    (data / "attributes").write_text("a")
    os.setxattr(data / "attributes", "user.note", b"\x00binary\xff")
    os.setxattr(data / "attributes", "security.capability", CAPABILITY)
    for number, path in enumerate(sorted(data.rglob("*"), reverse=True)):
        seconds = SECONDS + number
        os.utime(path, (seconds, seconds), follow_symlinks=False)


def _insert_more(layout: Path, directory: Path) -> None:
    image = f"{layout}:app"
    for number in range(MANY):
        file = directory / "file"
        file.write_text(f"layer {number}")
        target = f"/layers/{number % 3}/file-{number}"
        run("umoci", "insert", "--image", image, str(file), target)
    run("umoci", "insert", "--image", image, "--whiteout", "/data/gone")
    run("umoci", "insert", "--image", image, "--whiteout", "/data/kept/hard-2")
    fresh = directory / "fresh"
    fresh.mkdir()
    (fresh / "new").write_text("only this")
    run("umoci", "insert", "--image", image, "--opaque", str(fresh), "/data/opaque")
    run("umoci", "insert", "--image", image, str(fresh / "new"), "/data/replaced")


def _make_index(layout: Path) -> None:
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            {
                **descriptor_of(layout, tag),
                "platform": {"os": "linux", "architecture": architecture},
                "annotations": {"org.example.entry": tag},
            }
            for tag, architecture in (("other", "s390x"), ("app", here()))
        ],
        "annotations": ANNOTATIONS,
    }
    add_entry(layout, "index", index)


def here() -> str:
    """This machine's architecture, by its Go name."""
    machine = os.uname().machine
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def annotations_of(layout: Path, digest: str) -> Any:
    algorithm, _, value = digest.partition(":")
    return json.loads((layout / "blobs" / algorithm / value).read_bytes())[
        "annotations"
    ]


def tree(root: Path) -> dict[str, Entry]:
    """All that a tree holds, so that equal trees are equal dicts: kind and mode, owner,
    mtime, device, attributes, content or target, and the first name of a hard link."""
    found: dict[str, Entry] = {}
    first: dict[int, str] = {}
    for path in [root, *sorted(root.rglob("*"))]:
        name = str(path.relative_to(root))
        status = path.lstat()
        content = ""
        if path.is_symlink():
            content = os.readlink(path)
        elif path.is_file():
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        linked = ""
        if not stat.S_ISDIR(status.st_mode) and status.st_nlink > 1:
            linked = first.setdefault(status.st_ino, name)
        device = 0
        if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
            device = status.st_rdev
        found[name] = (
            oct(status.st_mode),
            (status.st_uid, status.st_gid),
            0 if name in UNSTATED else status.st_mtime_ns,
            device,
            _attributes(path),
            content,
            linked,
        )
    return found


def _attributes(path: Path) -> dict[str, bytes]:
    names = os.listxattr(path, follow_symlinks=False)
    return {
        name: os.getxattr(path, name, follow_symlinks=False)
        for name in names
        if not name.startswith(("trusted.overlay.", "user.overlay."))
    }


def different(ours: dict[str, Entry], theirs: dict[str, Entry]) -> dict[str, Any]:
    """What is not the same, by name."""
    return {
        name: (ours.get(name), theirs.get(name))
        for name in sorted({*ours, *theirs})
        if ours.get(name) != theirs.get(name)
    }
