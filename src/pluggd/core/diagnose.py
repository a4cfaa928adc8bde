# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What everything waits for: the tree of tasks and the state of the database, logged.

For the operator whose daemon hangs: the lines name plugins, and a stack says where.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Iterator

import trio

from pluggd.core.daemon import Daemon
from pluggd.model.record import to_plain
from pluggd.services.metadata import METADATA

DEPTH = 4
"""Frames of each task that are shown: where it waits, and on whose behalf."""

_TRAPS = inspect.getfile(trio.lowlevel.wait_task_rescheduled)
"""Where every wait ends, which says nothing about any."""


async def dump(daemon: Daemon) -> None:
    """Write the tree of tasks, and each metadata provider's open transactions and
    statistics, to the log."""
    root = trio.lowlevel.current_root_task()
    lines = [] if root is None else list(task_lines(root))
    daemon.log.info("task tree", extra={"detail": "\n".join(lines)})
    for row in daemon.table.working(METADATA.name).values():
        with trio.move_on_after(2) as scope:
            statistics = await row.instance.statistics()
            daemon.log.info(
                "metadata statistics",
                extra={
                    "plugin": row.uri,
                    "open_reads": statistics.open_reads,
                    "open_updates": statistics.open_updates,
                    "statistics": to_plain(statistics),
                },
            )
        if scope.cancelled_caught:
            daemon.log.warning("metadata does not answer", extra={"plugin": row.uri})


def task_lines(task: trio.lowlevel.Task, depth: int = 0) -> Iterator[str]:
    """A line for each task, indented below its parent, and where it waits."""
    indent = "  " * depth
    yield f"{indent}{task.name}"
    frames = list(_frames(task))[-DEPTH:]
    for frame in traceback.StackSummary.from_list(frames):
        yield f"{indent}    at {frame.name} ({frame.filename}:{frame.lineno})"
    for nursery in task.child_nurseries:
        for child in sorted(nursery.child_tasks, key=lambda child: child.name):
            yield from task_lines(child, depth + 1)


def _frames(task: trio.lowlevel.Task) -> Iterator[traceback.FrameSummary]:
    for frame, line in task.iter_await_frames():
        if frame.f_code.co_filename == _TRAPS:
            continue
        yield traceback.FrameSummary(
            frame.f_code.co_filename, line, frame.f_code.co_name, lookup_line=False
        )
