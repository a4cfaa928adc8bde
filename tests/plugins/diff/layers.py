# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Layers to extract, honest and hostile, and how the result looks."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plugins.diff.work.apply import apply

LIMITS = {"max_layer_size": 1 << 30, "max_entries": 100_000, "max_window": 27}


@dataclass
class E:
    """One entry: as `tarfile` writes it, with pax records as they are given."""

    name: str
    data: bytes = b""
    type: bytes = tarfile.REGTYPE
    link: str = ""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: float = 1_000_000_000
    pax: Mapping[str, str] = field(default_factory=dict[str, str])
    device: tuple[int, int] = (0, 0)


def d(
    name: str, *, mode: int = 0o755, mtime: float = 1e9, pax: Mapping[str, str] = {}
) -> E:
    return E(name, type=tarfile.DIRTYPE, mode=mode, mtime=mtime, pax=pax)


def link(name: str, target: str, *, pax: Mapping[str, str] = {}) -> E:
    return E(name, type=tarfile.SYMTYPE, link=target, mode=0o777, pax=pax)


def hard(name: str, target: str) -> E:
    return E(name, type=tarfile.LNKTYPE, link=target)


def layer(*entries: E, end: bool = True) -> bytes:
    out = io.BytesIO()
    for entry in entries:
        info = tarfile.TarInfo(entry.name)
        info.type, info.linkname, info.mode = entry.type, entry.link, entry.mode
        info.uid, info.gid, info.mtime = entry.uid, entry.gid, entry.mtime
        info.devmajor, info.devminor = entry.device
        info.size = len(entry.data)
        info.pax_headers = dict(entry.pax)
        out.write(info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))
        out.write(entry.data + bytes(-len(entry.data) % 512))
    return out.getvalue() + (bytes(1024) if end else b"")


def extract(
    data: bytes,
    root: Path,
    *,
    compression: str = "none",
    lowers: Sequence[Path] | None = None,
    refuse: bool = False,
    limits: Mapping[str, int] = LIMITS,
) -> dict[str, Any]:
    """Apply a layer to a directory, in this process."""
    root.mkdir(exist_ok=True)
    blob = os.memfd_create("layer")
    fds = [blob, os.open(root, os.O_RDONLY | os.O_DIRECTORY)]
    job = {
        "compression": compression,
        "limits": dict(limits),
        "refuse": refuse,
        "lowers": None if lowers is None else [str(lower) for lower in lowers],
        "opaque": "trusted.overlay.opaque",
    }
    try:
        os.write(blob, data)
        return apply(job, fds, lambda _: None)
    finally:
        for fd in fds:
            os.close(fd)


def tree(root: Path | str, *, times: bool = True) -> dict[str, tuple[Any, ...]]:
    """Everything below a directory, the root as ".": type and mode, owner, time, what
    it holds, attributes, and the other names of the same file."""
    found: dict[str, tuple[Any, ...]] = {}
    names: dict[tuple[int, int], list[str]] = {}
    base = os.fsencode(root)
    pending = [b"."]
    while pending:
        name = pending.pop()
        path = os.path.join(base, name)
        here = os.lstat(path)
        what: object = ""
        if stat.S_ISDIR(here.st_mode):
            pending += [os.path.join(name, one) for one in os.listdir(path)]
        elif stat.S_ISLNK(here.st_mode):
            what = os.readlink(path)
        elif stat.S_ISREG(here.st_mode):
            with open(path, "rb") as file:
                what = hashlib.file_digest(file, "sha256").hexdigest()
        else:
            what = here.st_rdev
        shown = os.fsdecode(name)
        if not stat.S_ISDIR(here.st_mode):
            names.setdefault((here.st_dev, here.st_ino), []).append(shown)
        attributes = {
            key: os.getxattr(path, key, follow_symlinks=False)
            for key in os.listxattr(path, follow_symlinks=False)
            if ".overlay." not in key
        }
        found[shown] = (
            oct(here.st_mode),
            (here.st_uid, here.st_gid),
            here.st_mtime_ns if times else 0,
            what,
            attributes,
        )
    for same in names.values():
        for one in same:
            found[one] += (sorted(same),)
    return found


def contents(root: Path) -> dict[str, Any]:
    """The files and what they hold; directories and links as words."""
    found: dict[str, Any] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        elif path.is_dir():
            found[name] = "dir"
        elif path.is_file():
            found[name] = path.read_bytes()
        else:
            found[name] = "other"
    return found
