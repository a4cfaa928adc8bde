# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the snapshot store shows in `pluggctl stats`."""

from __future__ import annotations

from pluggd.model.figures import Figure, gauge
from pluggd.services.metadata import Metadata

from .records import COMMITS, INFOS, TRASH


async def snapshot_figures(metadata: Metadata) -> list[Figure]:
    records = (await metadata.statistics()).entries
    return [
        gauge("snapshots", "Snapshots of all namespaces.", records.get(INFOS, 0)),
        gauge("snapshot_commits", "Commits under way.", records.get(COMMITS, 0)),
        gauge(
            "snapshot_trash",
            "Snapshots whose files wait to be removed.",
            records.get(TRASH, 0),
        ),
    ]
