# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Let SQLite check a whole database, in a process that nobody waits for meanwhile.

It must stay free of trio.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from .files import connect


def main(arguments: Sequence[str]) -> None:
    """`path`; returns when all is well, else exits with the first finding."""
    (path,) = arguments
    connection = connect(Path(path), write=False)
    ((found,),) = connection.execute("PRAGMA integrity_check(1)").fetchall()
    connection.close()
    if found != "ok":
        sys.exit(f"{found}".replace("\n", "; "))
