# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Progress on a terminal, silence in a pipe. The only module that imports rich.

It draws on stderr, so that stdout may be the archive itself.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pluggd.cli.ctl.output import clean
from pluggd.client.plain import is_map

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

SHOWN = 30  # characters of a name; with the bar and the sizes, a line has 80


class Progress:
    """One bar per thing that is reported; use as a context manager."""

    def __init__(self, *, enabled: bool = True) -> None:
        self._bars: Bars | None = None
        self._tasks: dict[str, TaskID] = {}
        if enabled and sys.stderr.isatty():
            self._bars = _bars()

    def __enter__(self) -> Progress:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def show(self, item: object) -> None:
        """Take a Progress record of the transfer service (as a map)."""
        if self._bars is None or not is_map(item):
            return
        name = str(item.get("name") or item.get("event") or "")
        total = item.get("total") or None
        task = self._tasks.get(name)
        if task is None:
            task = self._tasks[name] = self._bars.add_task("", total=total)
        short = name.removeprefix("sha256:")
        short = short if len(short) <= SHOWN else f"{short[: SHOWN - 1]}…"
        self._bars.update(
            task,
            description=f"{clean(short)}  {clean(item.get('event', ''))}",
            completed=item.get("progress", 0),
            total=total,
        )


def _bars() -> Bars:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
    )
    from rich.table import Column

    return Progress(
        TextColumn(
            "{task.description}", markup=False, table_column=Column(no_wrap=True)
        ),
        BarColumn(bar_width=14),
        DownloadColumn(binary_units=True, table_column=Column(no_wrap=True)),
        console=Console(stderr=True),
        transient=True,
    )
