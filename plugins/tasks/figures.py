# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the task service shows in `pluggctl stats`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from pluggd.model.figures import Figure, Sample, counter
from pluggd.services.tasks import CREATED, PAUSED, RUNNING, STOPPED

from .following import Follower
from .task import Running


def task_figures(
    tasks: Mapping[tuple[str, str], Running], follower: Follower
) -> list[Figure]:
    found = Counter(task.record.process.status for task in tasks.values())
    samples = [
        Sample({"status": status}, found[status])
        for status in (CREATED, RUNNING, PAUSED, STOPPED)
    ]
    return [
        Figure("tasks", "gauge", "Tasks of all namespaces, by status.", samples),
        counter("task_exits", "Processes that ended.", follower.exits),
        counter(
            "task_lost_shims",
            "Shims that went before their processes, whose exits nobody knows.",
            follower.lost,
        ),
    ]
