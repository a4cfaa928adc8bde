# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The ratios as a picture: bars on a logarithmic scale, in SVG.

Takes the rows as `run.py --json` wrote them; needs no library.
"""

from __future__ import annotations

import math
import re
from html import escape
from typing import Any

_LABEL = 330
_WIDTH = 420
_LINE = 22
_TOP = 58
_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #222 }
.title { font-weight: 600 } .small { font-size: 11px; fill: #666 }
.better { fill: #2b7a4b } .worse { fill: #b3502d } .grid { stroke: #ddd }
.one { stroke: #222 } .floor { stroke: #222; stroke-width: 2 } .range { stroke: #888 }
@media (prefers-color-scheme: dark) {
  text { fill: #ddd } .small { fill: #999 } .grid { stroke: #444 }
  .one, .floor { stroke: #ddd }
}
"""


def draw(rows: list[dict[str, Any]]) -> str:
    """SVG of all rows that have a ratio to containerd."""
    shown = [row for row in rows if row["ratios"] and "quiet" not in row["label"]]
    if not shown:
        raise ValueError("no ratios to draw: containerd was not measured")
    values = [_better(row, ratio) for row in shown for ratio in row["ratios"]]
    low = min(0.1, *(10 ** math.floor(math.log10(v)) for v in values))
    high = max(10.0, *(10 ** math.ceil(math.log10(v)) for v in values))
    height = _TOP + _LINE * len(shown) + 30

    def x(value: float) -> float:
        share = math.log10(value / low) / math.log10(high / low)
        return round(_LABEL + _WIDTH * share, 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LABEL + _WIDTH + 70}" '
        f'height="{height}" role="img" aria-label="pluggd beside containerd">',
        f"<style>{_STYLE}</style>",
        '<text class="title" x="8" y="20">pluggd beside containerd, one run, '
        "same machine</text>",
        '<text class="small" x="8" y="38">to the right of 1: faster, or less memory; '
        "thin line: from the least to the largest ratio; mark: what is required</text>",
    ]
    tick = low
    while tick <= high * 1.01:
        kind = "one" if abs(tick - 1) < 1e-9 else "grid"
        parts += [
            f'<line class="{kind}" x1="{x(tick)}" x2="{x(tick)}" y1="{_TOP - 8}" '
            f'y2="{height - 24}"/>',
            f'<text class="small" x="{x(tick)}" y="{height - 10}" '
            f'text-anchor="middle">{tick:g} x</text>',
        ]
        tick *= 10
    for index, row in enumerate(shown):
        parts += _bar(row, _TOP + _LINE * index, x)
    return "\n".join([*parts, "</svg>", ""])


def _bar(row: dict[str, Any], y: float, x: Any) -> list[str]:
    ratio = _better(row, row["ratio"])
    every = [_better(row, value) for value in row["ratios"]]
    start, end = sorted((x(1.0), x(ratio)))
    kind = "better" if ratio >= 1 else "worse"
    middle = y + 8
    parts = [
        f'<text x="{_LABEL - 10}" y="{y + 12}" text-anchor="end">'
        f"{escape(row['label'])}</text>",
        f'<rect class="{kind}" x="{start}" y="{y + 2}" '
        f'width="{max(1.0, round(end - start, 1))}" height="12"/>',
        f'<line class="range" x1="{x(min(every))}" x2="{x(max(every))}" '
        f'y1="{middle}" y2="{middle}"/>',
        f'<text class="small" x="{max(x(max(every)), x(1.0)) + 8}" y="{y + 12}">'
        f"{ratio:.2g} x</text>",
    ]
    required = re.search(r"[\d.]+", row["required"])
    if required:
        mark = x(_better(row, float(required[0])))
        parts.append(
            f'<line class="floor" x1="{mark}" x2="{mark}" y1="{y}" y2="{y + 16}"/>'
        )
    return parts


def _better(row: dict[str, Any], ratio: float) -> float:
    """Rows with an upper limit say "times as much", which is drawn to the left."""
    return 1 / ratio if row["required"].startswith("<=") else ratio
