# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How pluggctl shows things: tables for people, JSON for machines.

Pure text; no click, no connection. What comes from the daemon is somebody's data:
control characters in a table are shown escaped, so that a name cannot move the
cursor or change the title of a terminal.
"""

from __future__ import annotations

import base64
import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard

from pluggd.client.plain import is_map

BYTES = "$bytes"
UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")
SECOND = 1_000_000_000


def out(text: str) -> None:
    """A line on stdout."""
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """A line on stderr, for what is not the result."""
    sys.stderr.write(text + "\n")


def clean(value: object) -> str:
    """The text of a cell: control characters escaped, nothing shown as `-`."""
    text = str(value)
    if not text.isprintable():
        text = "".join(
            char if char.isprintable() else char.encode("unicode_escape").decode()
            for char in text
        )
    return text or "-"


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns as wide as they need, two spaces apart; the header is always shown."""
    cells = [list(header), *([clean(value) for value in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    for row in cells:
        padded = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        out("  ".join(padded).rstrip())


def to_json(value: object) -> Any:
    """The same value with bytes as `{"$bytes": base64}`."""
    if isinstance(value, bytes):
        return {BYTES: base64.b64encode(value).decode()}
    if is_map(value):
        return {key: to_json(item) for key, item in value.items()}
    if _is_list(value):
        return [to_json(item) for item in value]
    return value


def from_json(value: object) -> Any:
    """The inverse of `to_json`. Raises ValueError for bad base64."""
    if is_map(value):
        if set(value) == {BYTES} and isinstance(value[BYTES], str):
            return base64.b64decode(value[BYTES], validate=True)
        return {key: from_json(item) for key, item in value.items()}
    if _is_list(value):
        return [from_json(item) for item in value]
    return value


def _is_list(value: object) -> TypeGuard[list[object]]:
    return isinstance(value, list | tuple)


def json_document(value: Any) -> None:
    """One document, indented."""
    out(json.dumps(to_json(value), ensure_ascii=False, indent=2))


def json_line(value: Any) -> None:
    """One document on one line, for streams; sent at once."""
    out(json.dumps(to_json(value), ensure_ascii=False, separators=(",", ":")))
    sys.stdout.flush()


def size(count: int) -> str:
    """`512 B`, `1.5 KiB`: binary units, one decimal."""
    if abs(count) < 1024:
        return f"{count} B"
    value = float(count)
    for unit in UNITS:
        value /= 1024
        if abs(value) < 1024:
            return f"{value:.1f} {unit}"
    return f"{value:.1f} {UNITS[-1]}"


def age(then: int, now: int | None = None) -> str:
    """How long ago a time in ns was, in ctr's words: `About a minute`, `3 hours`."""
    if not then:
        return "-"
    return duration((time.time_ns() if now is None else now) - then)


def duration(ns: int) -> str:
    seconds = max(ns, 0) // SECOND
    minutes = seconds // 60
    hours = (seconds + 1800) // 3600
    if seconds < 1:
        return "Less than a second"
    if seconds == 1:
        return "1 second"
    if seconds < 60:
        return f"{seconds} seconds"
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    days = hours // 24
    if days < 14:
        return f"{days} days"
    if days < 60:
        return f"{days // 7} weeks"
    if days < 730:
        return f"{days // 30} months"
    return f"{days // 365} years"


def short_duration(ns: int) -> str:
    """A measured time: `850 µs`, `12.3 ms`, `4.20 s`."""
    if ns < 1_000_000:
        return f"{ns / 1000:.0f} µs"
    if ns < SECOND:
        return f"{ns / 1_000_000:.1f} ms"
    return f"{ns / SECOND:.2f} s"


def when(ns: int) -> str:
    """A time in UTC to the second; `-` for none."""
    if not ns:
        return "-"
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ns // SECOND))


def exactly_when(ns: int) -> str:
    """A time in UTC with all its digits, which sorts as text."""
    whole, rest = divmod(ns, SECOND)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{rest:09d}Z"


def labels(pairs: Mapping[str, str] | None) -> str:
    """`k=v,k=v` in order of the key, or `-`."""
    return ",".join(f"{key}={value}" for key, value in sorted((pairs or {}).items()))
