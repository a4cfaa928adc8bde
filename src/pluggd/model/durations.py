# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Durations as text in the configuration: `100ms`, `1.5s`, `1h30m`.

The form is Go's, so that values can be taken over from a containerd
configuration as they are. Everything inside pluggd counts in seconds (timers)
or nanoseconds (stored times); this is the only place that reads such text.
"""

from __future__ import annotations

import re
from decimal import Decimal

from pluggd.errors import InvalidArgument

_UNITS = {
    "ns": Decimal("1e-9"),
    "us": Decimal("1e-6"),
    "µs": Decimal("1e-6"),
    "ms": Decimal("1e-3"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
}
_part = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)", re.ASCII)
_SHOWN = (("h", 3600.0), ("m", 60.0), ("s", 1.0), ("ms", 1e-3), ("us", 1e-6))


def parse_duration(text: str) -> float:
    """Seconds. `0` needs no unit; a sign may stand in front.

    Raises InvalidArgument naming the text and the form.
    """
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if rest == "0":
        return 0.0
    total = Decimal(0)
    at = 0
    while at < len(rest):
        found = _part.match(rest, at)
        if found is None:
            break
        total += Decimal(found[1]) * _UNITS[found[2]]
        at = found.end()
    if not rest or at < len(rest):
        raise InvalidArgument(
            f'duration "{text}" must be a number with a unit (ns, us, ms, s, m, h), '
            'as in "100ms" or "1h30m": invalid argument'
        )
    return float(sign * total)


def format_duration(seconds: float) -> str:
    """The shortest text in one unit: `100ms`, `1.5s`, `0s`."""
    for unit, size in _SHOWN:
        if abs(seconds) >= size:
            return f"{seconds / size:.6g}{unit}"
    return f"{seconds * 1e9:.6g}ns" if seconds else "0s"
