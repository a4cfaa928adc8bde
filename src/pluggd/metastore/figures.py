# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The figures of a store, for monitoring: what `statistics` says."""

from __future__ import annotations

from typing import Any

from pluggd.metastore.counters import SIZES
from pluggd.metastore.store import StoredMetadata
from pluggd.model.figures import (
    Figure,
    Sample,
    by_label,
    counter,
    gauge,
    histogram,
)

NS = 1e9


async def metadata_figures(store: StoredMetadata[Any]) -> list[Figure]:
    stats = await store.statistics()
    return [
        Figure(
            "metadata_batch_updates",
            "histogram",
            "Updates in one durable commit.",
            [Sample({}, stats.updates, stats.batches)],
            [float(1 << size) for size in range(SIZES - 1)],
        ),
        gauge(
            "metadata_largest_batch",
            "Most updates in one commit since the start.",
            stats.largest_batch,
        ),
        histogram(
            "metadata_commit_seconds",
            "Duration of each commit, without the functions of its updates.",
            store.counters.commit_times,
        ),
        counter(
            "metadata_wait_seconds",
            "Time that updates waited for their turn, of all together.",
            stats.wait_time / NS,
        ),
        gauge(
            "metadata_longest_wait_seconds",
            "Longest such wait since the start.",
            stats.longest_wait / NS,
        ),
        counter(
            "metadata_handover_seconds",
            "Time until the thread that commits took up its work, of all together.",
            stats.handover_time / NS,
        ),
        counter("metadata_handovers", "How often it was given work.", stats.handovers),
        gauge("metadata_used_bytes", "Bytes in use in the database.", stats.used),
        gauge("metadata_file_bytes", "Size of the database file.", stats.size),
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
