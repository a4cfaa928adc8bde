# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Figures as text for Prometheus: exposition format 0.0.4.

Pure: figures in, text out. What the format wants and figures do not have is added here:
the prefix, `_total`, cumulative buckets, escapes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate

from pluggd.model.figures import Figure, Sample

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

PREFIX = "pluggd_"
PROCESS = "process_"
"""Figures of the process have the names that dashboards expect, without the prefix."""


def exposition(figures: Iterable[Figure]) -> str:
    """One text for all of them; a figure without samples is left out."""
    return "".join(line + "\n" for one in figures for line in _family(one))


def _family(figure: Figure) -> Iterator[str]:
    if not figure.samples:
        return
    name = figure.name if figure.name.startswith(PROCESS) else PREFIX + figure.name
    if figure.type == "counter":
        name += "_total"
    if figure.help:
        yield f"# HELP {name} {_escaped(figure.help)}"
    yield f"# TYPE {name} {figure.type}"
    for sample in figure.samples:
        if figure.type == "histogram":
            yield from _buckets(name, figure.bounds, sample)
        else:
            yield f"{name}{_labels(sample.labels)} {number(sample.value)}"


def _buckets(name: str, bounds: list[float], sample: Sample) -> Iterator[str]:
    limits = [*map(number, bounds), "+Inf"]
    counts = list(accumulate(sample.counts))
    for limit, count in zip(limits, counts, strict=True):
        yield f"{name}_bucket{_labels({**sample.labels, 'le': limit})} {count}"
    labels = _labels(sample.labels)
    yield f"{name}_sum{labels} {number(sample.value)}"
    yield f"{name}_count{labels} {counts[-1]}"


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    pairs = (f'{key}="{_escaped(value, quotes=True)}"' for key, value in labels.items())
    return "{" + ",".join(pairs) + "}"


def _escaped(text: str, *, quotes: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quotes else text


def number(value: float) -> str:
    """As Go reads it, whole numbers without a point."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    if float(value).is_integer() and abs(value) < 1 << 53:
        return str(int(value))
    return repr(float(value))
