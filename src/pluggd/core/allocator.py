# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How the C library deals with memory that was freed.

glibc gives it back to the kernel as soon as 128 KiB lie at the end of the heap, and maps large
pieces one by one. A daemon that passes on blobs, a MiB at a time, then gets each page
anew, zeroed, for the next piece: a third of what sending or receiving one costs
(docs/performance.md).
"""

from __future__ import annotations

import ctypes
import os

KEPT = 16 << 20
"""Bytes at the end of the heap that are kept for what comes next."""

MAPPED = 8 << 20
"""Bytes from which a piece is mapped by itself, and given back as soon as it is freed."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc's malloc.h."""

_VARIABLES = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_memory() -> bool:
    """Have some of what was freed kept; whether that is so now.

    Not where the environment says something about it, nor with another C library.
    """
    if any(name in os.environ for name in _VARIABLES):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(
        mallopt(parameter, size) == 1
        for parameter, size in ((_TRIM_THRESHOLD, KEPT), (_MMAP_THRESHOLD, MAPPED))
    )
