# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the rules of snapshots are tried with."""

from __future__ import annotations

import os
from pathlib import Path

from pluggd.model.types import Mount
from pluggd.mount import mounted
from pluggd.services.snapshots import Snapshotter


def write(mounts: list[Mount], **files: str) -> None:
    with mounted(mounts) as root:
        for name, text in files.items():
            Path(root, name).write_text(text)


def files(mounts: list[Mount]) -> dict[str, str]:
    with mounted(mounts, reading=True) as root:
        return {
            name: Path(root, name).read_text()
            for name in sorted(os.listdir(root))
            if Path(root, name).is_file()
        }


async def layer(
    snapshots: Snapshotter, name: str, parent: str = "", **content: str
) -> None:
    """A committed snapshot with these files."""
    write(await snapshots.prepare(key=f"make {name}", parent=parent), **content)
    await snapshots.commit(name=name, key=f"make {name}")


async def names(snapshots: Snapshotter) -> list[str]:
    return [info.name for info in await snapshots.walk()]
