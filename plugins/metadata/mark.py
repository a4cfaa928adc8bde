# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The full mark of a database of LMDB, in a process of its own, free of trio."""

from __future__ import annotations

from collections.abc import Sequence

from pluggd.metastore import marking

from .environment import snapshot


def main(arguments: Sequence[str]) -> None:
    """`path map_size now`; see `pluggd.metastore.marking`."""
    path, map_size, now = arguments
    marking.main(snapshot(path, int(map_size)), int(now))
