# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The full mark of a database of SQLite, in a process of its own, free of trio."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pluggd.metastore import marking

from .files import snapshot


def main(arguments: Sequence[str]) -> None:
    """`path now`; see `pluggd.metastore.marking`."""
    path, now = arguments
    marking.main(snapshot(Path(path)), int(now))
