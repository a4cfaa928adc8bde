# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""From the lines of the load generator to ratios with their spread.

A ratio is made of two figures of the same repetition, taken shortly one after the
other; the median of those moves less with the machine than a ratio of medians.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rows import Row

Line = dict[str, Any]


@dataclass(frozen=True)
class Compared:
    """A row with what was measured. Without a peer, `ratios` is empty."""

    row: Row
    pluggd: list[float]
    peer: list[float]
    ratios: list[float]
    errors: int

    @property
    def ratio(self) -> float | None:
        return statistics.median(self.ratios) if self.ratios else None

    @property
    def verdict(self) -> str:
        if self.errors:
            return f"{self.errors} errors"
        met = self.row.met(self.ratio) if self.ratio is not None else None
        return "" if met is None else "met" if met else "MISSED"

    def as_map(self) -> dict[str, Any]:
        return {
            "label": self.row.label,
            "group": self.row.group,
            "unit": self.row.unit,
            "required": self.row.required,
            "pluggd": self.pluggd,
            "peer": self.peer,
            "ratios": self.ratios,
            "ratio": self.ratio,
            "verdict": self.verdict,
        }


class Figures:
    """All lines of one run."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self._lines: dict[tuple[str, str, int], dict[int, Line]] = {}
        for line in lines:
            name = line.get("metric") or line["bench"]
            key = (line["target"], name, line.get("clients", 1))
            self._lines.setdefault(key, {})[line["rep"]] = line

    def values(self, target: str, bench: str, clients: int, field: str) -> list[float]:
        lines = self._lines.get((target, bench, clients), {})
        return [line[field] for _, line in sorted(lines.items())]

    def compare(self, row: Row) -> Compared | None:
        """None when pluggd's figure was not measured."""
        mine = self._lines.get(("pluggd", row.bench, row.clients), {})
        if not mine:
            return None
        target = "pluggd" if row.own else "containerd"
        peer = self._lines.get((target, *row.other), {})
        paired = [rep for rep in sorted(mine) if rep in peer]
        return Compared(
            row=row,
            pluggd=[mine[rep][row.field] for rep in sorted(mine)],
            peer=[peer[rep][row.field] for rep in sorted(peer)],
            ratios=[
                row.ratio(mine[rep][row.field], peer[rep][row.field])
                for rep in paired
                if mine[rep][row.field] and peer[rep][row.field]
            ],
            errors=sum(line.get("errors", 0) for line in mine.values())
            + sum(line.get("errors", 0) for line in peer.values()),
        )

    def noise(self) -> list[float]:
        """Processors that other programs used during each bench."""
        return [
            line["other_cpu"]
            for (target, _, _), lines in self._lines.items()
            if target != "raw"
            for line in lines.values()
            if "other_cpu" in line and "bench" in line
        ]


def number(value: float) -> str:
    """Three digits or so."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def spread(values: Sequence[float]) -> str:
    """The median, and from where to where."""
    if not values:
        return "-"
    middle = number(statistics.median(values))
    if len(values) == 1:
        return middle
    return f"{middle} ({number(min(values))}-{number(max(values))})"
