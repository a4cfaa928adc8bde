# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Read every page of a database, in a process that may die of it.

LMDB reads through a memory map: what is missing in the file is a SIGBUS, and some
damage an assertion that aborts. So this runs in a child, and how the child ends is
the answer. It imports neither trio nor the rest of the plugin.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import lmdb


def main(arguments: Sequence[str]) -> None:
    """`path map_size max_dbs engine`; ends with 0 when all could be read."""
    path, map_size, max_dbs, engine = arguments
    environment = lmdb.open(
        path,
        map_size=int(map_size),
        max_dbs=int(max_dbs),
        lib_version=int(engine),
        readonly=True,
    )
    with environment.begin() as txn:
        for name in environment.dbs(txn):
            database = environment.open_db(name, txn=txn, create=False)
            for _ in txn.cursor(database):
                pass
    # No tidy end: the process must not fail for anything after the answer.
    os._exit(0)
