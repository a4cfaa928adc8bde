# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is open here is of no use after a fork, and harmful."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forked(Protocol):
    """forked: whether this process is a child of the one that opened it."""

    forked: bool


def forget_after_fork(engine: Forked) -> None:
    """Have `forked` set in a child. It shares locks, reader slots and descriptors with
    its parent without owning them; engines let it go on, and it would do harm."""
    reference = weakref.ref(engine)

    def mark() -> None:
        survivor = reference()
        if survivor is not None:
            survivor.forked = True

    os.register_at_fork(after_in_child=mark)


def check_process(engine: Forked) -> None:
    """Raises RuntimeError in a child."""
    if engine.forked:
        raise RuntimeError("the metadata store cannot be used in a forked process")
