# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Figures: numbers that say how something works, for operators and their monitoring.

One form for the daemon's own and for those of any plugin, so that they are shown in
the same places: `introspection.v1.stats`, `pluggctl stats`, the `metrics` plugin.
They are made when somebody asks. What is counted in between is a plain integer of
its owner, or a `Histogram`.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Literal

from pluggd.errors import InvalidArgument
from pluggd.model.record import Record

NAME = LABEL = r"[a-z][a-z0-9_]*"
TAKEN = ("plugin", "le")
"""Labels that the daemon or the exposition sets."""

LATENCY = (
    *(float(f"{digit}e{power}") for power in range(-5, 1) for digit in (1, 2, 5)),
    10.0,
)
"""Bounds in seconds, from 10 us to 10 s, three to a decade."""


class Sample(Record, frozen=True):
    """One value of a figure. labels: which. For a histogram, `value` is the sum of what
    was observed and `counts` how often, for each bucket by itself; the last is for what
    is above all bounds."""

    labels: dict[str, str] = {}
    value: float = 0
    counts: list[int] = []


class Figure(Record, frozen=True):
    """A number with a name, or several that differ in their labels.

    name: lower case with `_`, its unit last: seconds, bytes, or what is counted. A
    counter only grows, until the daemon ends. bounds: of a histogram's buckets, in
    the unit of the figure; each includes its bound.
    """

    name: str
    type: Literal["counter", "gauge", "histogram"] = "gauge"
    help: str = ""
    samples: list[Sample] = []
    bounds: list[float] = []


class Histogram:
    """Counts observations by size. Cheap enough for what happens often."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float] = LATENCY) -> None:
        """bounds: in increasing order, in the figure's unit."""
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def sample(self, labels: Mapping[str, str] | None = None) -> Sample:
        """Its state of this moment."""
        return Sample(dict(labels or {}), self.total, list(self.counts))


def counter(name: str, help: str, value: float, **labels: str) -> Figure:
    """A counter with one value."""
    return Figure(name, "counter", help, [Sample(labels, value)])


def gauge(name: str, help: str, value: float, **labels: str) -> Figure:
    """A gauge with one value."""
    return Figure(name, "gauge", help, [Sample(labels, value)])


def by_label(
    name: str,
    type: Literal["counter", "gauge"],
    help: str,
    label: str,
    values: Mapping[str, float],
) -> Figure:
    """A figure with one value for each of something, in order of the label."""
    samples = [Sample({label: key}, values[key]) for key in sorted(values)]
    return Figure(name, type, help, samples)


def histogram(name: str, help: str, values: Histogram, **labels: str) -> Figure:
    """A histogram with one set of buckets."""
    bounds = list(values.bounds)
    return Figure(name, "histogram", help, [values.sample(labels)], bounds)


def validate_figure(figure: Figure) -> None:
    """Raises InvalidArgument for a figure that could not be shown."""
    what = f"figure {figure.name!r}"
    if not re.fullmatch(NAME, figure.name):
        raise InvalidArgument(f"{what}: a name is lower case letters, digits and _")
    if figure.type == "counter" and figure.name.endswith("_total"):
        raise InvalidArgument(f"{what}: without _total, which the exposition adds")
    for sample in figure.samples:
        for label in sample.labels:
            if not re.fullmatch(LABEL, label) or label in TAKEN:
                raise InvalidArgument(
                    f"{what}: label {label!r} is not lower case letters, digits and _, "
                    f"or one of {', '.join(TAKEN)}, which are set by the daemon"
                )
        expected = len(figure.bounds) + 1 if figure.type == "histogram" else 0
        if len(sample.counts) != expected:
            raise InvalidArgument(
                f"{what}: a sample has {len(sample.counts)} counts, not {expected}"
            )
