# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a task's processes are and use, and the limits they have. Blocks."""

from __future__ import annotations

import time
from collections.abc import Iterable

from pluggd.errors import InvalidArgument
from pluggd.services.tasks import (
    PAUSED,
    RUNNING,
    PidInfo,
    PidList,
    Resources,
    StatsList,
)

from .cgroups import cgroup_of
from .task import Running


def pids_of(task: Running) -> PidList:
    """All processes in the container, those of `exec` by their ids."""
    init = task.record.process.pid
    execs = {one.pid: one.exec_id for one in task.record.execs.values() if one.pid}
    group = cgroup_of(init)
    pids = group.pids() if group else [init, *execs]
    return PidList(
        processes=[
            PidInfo(
                pid=pid,
                exec_id=execs.get(pid, ""),
                init=pid == init,
                command=_command_of(pid),
            )
            for pid in pids
        ]
    )


def _command_of(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read(4096).rstrip(b"\0").split(b"\0")
    except OSError:
        return ""  # it has ended
    return b" ".join(words).decode("utf-8", "replace")


def stats_of(tasks: Iterable[Running]) -> StatsList:
    found = StatsList()
    for task in tasks:
        if task.record.process.status in (RUNNING, PAUSED):
            group = cgroup_of(task.record.process.pid)
            if group is not None:
                found.stats.append(group.stats(task.id, time.time_ns()))
    return found


def limits_of(resources: Resources) -> dict[str, dict[str, int | str]]:
    """As the OCI runtime specification has it. Raises InvalidArgument for none."""
    wanted: dict[str, dict[str, int | str]] = {
        "memory": {"limit": resources.memory, "swap": resources.memory_swap},
        "cpu": {
            "shares": resources.cpu_shares,
            "quota": resources.cpu_quota,
            "period": resources.cpu_period,
            "cpus": resources.cpuset_cpus,
        },
        "pids": {"limit": resources.pids},
    }
    given = {
        group: {key: value for key, value in values.items() if value}
        for group, values in wanted.items()
    }
    given = {group: values for group, values in given.items() if values}
    if not given:
        raise InvalidArgument("resources: nothing to change: invalid argument")
    return given
