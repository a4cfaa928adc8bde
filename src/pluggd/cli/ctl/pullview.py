# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How a pull looks: bars on a terminal, plain lines elsewhere.

One line for each blob, and a last one with the time, the bytes that came over the
network and their rate. Where there are more blobs than the terminal has rows, those that
move are shown, and at the end all: what has scrolled out at the top cannot be drawn anew,
and each frame would stay there. In a pipe a line is written when something is over, so that a
log of it can be read.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from pluggd.cli.ctl.output import clean, out, size
from pluggd.client.plain import is_map

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text

BAR = 38
"""Cells of a bar where there is room."""

EVENT = 11
SIZES = 20
"""Cells of what happens, and of how much of it is done."""

_OVER = frozenset(
    {"resolved", "done", "exists", "skipped", "extracted", "saved", "pushed"}
)
_MOVED = frozenset({"downloading", "uploading"})
_WAITING = frozenset({"waiting"})


class PullView:
    """Takes the items of a pull or push; use as a context manager."""

    def __init__(self, *, enabled: bool = True) -> None:
        self._items: dict[str, dict[str, Any]] = {}
        self._moved: dict[str, tuple[int, int]] = {}  # where it began, where it is
        self._enabled = enabled
        self._live: Live | None = None
        self._began = time.monotonic()
        self._ended: tuple[float, int] | None = None
        self._last_frame = False

    def __enter__(self) -> PullView:
        if self._enabled and sys.stdout.isatty():
            self._live = _live(self)
            self._live.start()
        return self

    def __exit__(self, error: object, *_: object) -> None:
        if self._live is not None:
            self._live.stop()  # which takes the last frame away
            self._last_frame = True
            self._live.console.print(self, no_wrap=True, overflow="crop")
        elif self._enabled and error is None:
            out(self.total())

    def show(self, item: object) -> None:
        """Take a Progress record of the transfer service (as a map)."""
        if not is_map(item) or not self._enabled:
            return
        name, event = str(item.get("name", "")), str(item.get("event", ""))
        before = self._items.get(name, {}).get("event", "")
        self._count(name, event, before, item)
        self._items[name] = dict(item)
        if self._live is None and event != before and event in _OVER:
            out(f"{clean(name)}: {clean(event)}")
            sys.stdout.flush()

    def _count(self, name: str, event: str, before: str, item: dict[str, Any]) -> None:
        progress = int(item.get("progress", 0))
        if event in _MOVED:
            began = self._moved.get(name, (progress, 0))[0]
            self._moved[name] = (began, progress)
        elif event == "done" and before in (*_MOVED, "waiting", ""):
            began = self._moved.get(name, (0, 0))[0]
            self._moved[name] = (began, progress)

    def finish(self, moved: int) -> None:
        """Take what the call answered: the bytes that went over the network. What was
        shown before is what could be seen of them: the state of a blob is told some
        times a second, and a small one is extracted before it was ever told as done."""
        self._ended = time.monotonic(), moved

    def total(self) -> str:
        """The last line."""
        seen = sum(now - began for began, now in self._moved.values())
        ended, moved = self._ended or (time.monotonic(), seen)
        elapsed = ended - self._began
        rate = size(int(moved / elapsed)) if elapsed else "0 B"
        return f"elapsed: {elapsed:.1f} s  total: {size(moved)} ({rate}/s)"

    def __rich__(self) -> Text:
        from rich.text import Text

        columns, rows = shutil.get_terminal_size()
        longest = max((len(clean(name)) for name in self._items), default=0)
        bar = min(BAR, max(10, columns - longest - EVENT - SIZES - 6))
        room = max(20, min(longest, columns - bar - EVENT - SIZES - 6))
        # The total below them, and a row for the cursor that rich needs when it stops.
        shown, rest = self._fitting(rows - 2)
        lines = [
            self._line(name, item, room, bar)
            for name, item in self._items.items()
            if name in shown
        ]
        return Text(
            "\n".join([*lines, *rest, self.total()]), no_wrap=True, overflow="crop"
        )

    def _fitting(self, rows: int) -> tuple[set[str], list[str]]:
        """The names of the lines to show, and a line about the rest where there is one.

        Those that move come before those that wait, and these before those that are over.
        """
        if self._last_frame or len(self._items) <= rows:
            return set(self._items), []
        events = {name: item.get("event", "") for name, item in self._items.items()}
        ranked = sorted(
            events, key=lambda name: (events[name] in _OVER, events[name] in _WAITING)
        )
        shown, hidden = ranked[: max(0, rows - 1)], ranked[max(0, rows - 1) :]
        counts = Counter(events[name] for name in hidden)
        told = ", ".join(f"{count} {clean(event)}" for event, count in counts.items())
        return set(shown), [f"and {len(hidden)} more: {told}"]

    def _line(self, name: str, item: dict[str, Any], room: int, bar: int) -> str:
        event = clean(item.get("event", ""))
        progress, total = int(item.get("progress", 0)), int(item.get("total", 0))
        if event in _OVER:
            progress = total = 1
        counted = event in (*_MOVED, "extracting") and total
        sizes = f" {size(progress)}/{size(total)}" if counted else ""
        filled = bar * progress // total if total else 0
        shown = clean(name)
        shown = shown if len(shown) <= room else f"{shown[: room - 1]}…"
        bars = f"|{'+' * filled}{'-' * (bar - filled)}|"
        return f"{f'{shown}:':<{room + 1}} {event:<{EVENT}} {bars}{sizes}"


def _live(view: PullView) -> Live:
    from rich.console import Console
    from rich.live import Live

    return Live(
        console=Console(file=sys.stdout, highlight=False),
        get_renderable=view.__rich__,
        refresh_per_second=10,
        transient=True,
    )
