# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The figures of the store, for monitoring: what `statistics` says, and the map."""

from __future__ import annotations

from pluggd.model.figures import Figure, by_label, counter, gauge
from plugins.metadata.store import LmdbMetadata

NS = 1e9


async def metadata_figures(store: LmdbMetadata) -> list[Figure]:
    stats = await store.statistics()
    return [
        counter("metadata_commits", "Durable commits.", stats.commits),
        counter(
            "metadata_updates", "Updates in these commits together.", stats.updates
        ),
        gauge(
            "metadata_largest_batch",
            "Most updates in one commit since the start.",
            stats.largest_batch,
        ),
        counter(
            "metadata_commit_seconds",
            "Time in commits, without the functions of the updates.",
            stats.commit_time / NS,
        ),
        gauge("metadata_used_bytes", "Bytes in use in the database.", stats.used),
        gauge("metadata_file_bytes", "Size of the database file.", stats.size),
        gauge(
            "metadata_map_bytes",
            "Size of the map, a bound of the file.",
            store.environment.map_size,
        ),
        gauge("metadata_quota_bytes", "Bytes allowed, 0 for no bound.", stats.quota),
        gauge(
            "metadata_oldest_reader_seconds",
            "Age of the oldest open read; pages that it sees are not used again.",
            stats.oldest_reader / NS,
        ),
        gauge(
            "metadata_candidates",
            "Objects that the next collection will look at.",
            stats.candidates,
        ),
        by_label(
            "metadata_records", "gauge", "Records by table.", "table", stats.entries
        ),
    ]
