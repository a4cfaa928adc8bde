# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is mounted where, from /proc/self/mountinfo."""

from __future__ import annotations

import re

_ESCAPED = rb"\\([0-7]{3})"


def mount_points() -> list[str]:
    """All mount points of this process, in the order in which they were mounted."""
    with open("/proc/self/mountinfo", "rb") as stream:
        return [_path(line.split(b" ")[4]) for line in stream]


def mounts_at(path: str, *, recursive: bool = False) -> list[str]:
    """The mounts at a path, last one first; recursive: and all below it. A path that
    is mounted over is there once for each mount."""
    below = path.rstrip("/") + "/"
    return [
        point
        for point in reversed(mount_points())
        if point == path or (recursive and point.startswith(below))
    ]


def _path(field: bytes) -> str:
    raw = re.sub(_ESCAPED, lambda match: bytes([int(match[1], 8)]), field)
    return raw.decode("utf-8", "surrogateescape")
