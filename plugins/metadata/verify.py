# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Read every page of a database, in a process that may die of it.

LMDB reads through a memory map: what is missing in the file is a SIGBUS, and some
damage an assertion that aborts. So this runs in a child, and how the child ends is
the answer. It must stay free of trio.
"""

from __future__ import annotations

from collections.abc import Sequence

from .environment import snapshot


def main(arguments: Sequence[str]) -> None:
    """`path map_size`; returns when all could be read."""
    path, map_size = arguments
    with snapshot(path, int(map_size)) as kv:
        for table in kv.tables():
            for _ in kv.seek(table, b""):
                pass
