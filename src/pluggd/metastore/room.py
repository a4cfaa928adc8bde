# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Whether a directory has room: asked when an engine's error does not say it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What a system call says when a disk, a quota or a file is full."""

_PROBE = 1 << 20


def has_room(directory: Path) -> bool:
    """Whether one more MiB can be had there. A short write, which is how a full disk
    often shows first, is told by many as an I/O error."""
    probe = directory / "probe"
    try:
        with probe.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, _PROBE)
    except OSError as error:
        return error.errno not in NO_ROOM
    finally:
        probe.unlink(missing_ok=True)
    return True
