# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What one snapshotter does otherwise than another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from pluggd.model.types import Mount
from pluggd.services.snapshots import SnapshotKind


class Layout(Protocol):
    """How the bytes of a snapshot lie in its directory; both methods block.

    `directory` is the snapshot's own, `parents` those of its parents, nearest first.
    Names in it that begin with `record` are taken; what the snapshot's users write is in
    `fs`, of which usage is counted. `names`: all that a directory may have besides the
    record; anything else is a finding of the check.
    """

    names: frozenset[str]

    def create(
        self,
        directory: str,
        kind: SnapshotKind,
        parents: Sequence[str],
        pause: Callable[[], None],
    ) -> None:
        """Fill an empty directory. `pause` is called now and then, and may raise; what
        is half made is then removed by the caller. Raises OSError."""
        ...

    def mounts(
        self, directory: str, kind: SnapshotKind, parents: Sequence[str]
    ) -> list[Mount]:
        """How an active snapshot or a view is mounted."""
        ...
