# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What all collections since the start did, together."""

from __future__ import annotations

from collections import Counter

from pluggd.model.figures import Figure, Histogram, by_label, counter, histogram
from pluggd.services.metadata import CollectStats

NS = 1e9


class Totals:
    """Adds up; one for each policy."""

    def __init__(self) -> None:
        self.failed = 0
        self._runs = 0
        self._full = 0
        self._examined = 0
        self._pauses = Histogram()
        self._durations = Histogram()
        self._removed: Counter[str] = Counter()
        self._freed: Counter[str] = Counter()

    def add(self, stats: CollectStats) -> None:
        self._runs += 1
        self._full += stats.full
        self._examined += stats.examined
        self._pauses.observe(stats.pause / NS)
        self._durations.observe(stats.elapsed / NS)
        self._removed.update(stats.removed)
        self._freed.update(stats.freed)

    def figures(self) -> list[Figure]:
        results = {"ok": self._runs, "failed": self.failed}
        return [
            by_label("gc_runs", "counter", "Collections.", "result", results),
            counter("gc_full_runs", "Collections that marked everything.", self._full),
            counter("gc_examined", "Objects that were looked at.", self._examined),
            by_label(
                "gc_removed", "counter", "Objects removed.", "type", self._removed
            ),
            by_label(
                "gc_freed_bytes",
                "counter",
                "Bytes that were given back.",
                "type",
                self._freed,
            ),
            histogram(
                "gc_pause_seconds",
                "Longest time that writers waited, of each collection.",
                self._pauses,
            ),
            histogram(
                "gc_run_seconds", "Duration of each collection.", self._durations
            ),
        ]
