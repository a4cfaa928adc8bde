# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How tasks are started, what they need of the machine, and who else they need."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

from pluggd.plugin import Context, Registration, Skip, hookimpl
from pluggd.services.containers import CONTAINERS
from pluggd.services.metadata import METADATA
from pluggd.services.snapshots import SNAPSHOTS
from pluggd.services.tasks import TASKS, Tasks

from .config import Config

RUNTIMES = ("runc", "crun")


@asynccontextmanager
async def start(ctx: Context[Config]) -> AsyncGenerator[Tasks]:
    # Here, so that a daemon without runtimes does not pay for the rest.
    from .adopting import Adopter
    from .creating import Creator
    from .figures import task_figures
    from .following import Follower
    from .lifecycle import Lifecycle
    from .runtime import find_runtimes
    from .service import TaskService
    from .table import Table
    from .task import Running

    if os.geteuid() != 0:
        raise Skip(
            "running containers needs root (mounts, control groups), and this daemon"
            f" runs as uid {os.geteuid()}; everything else works"
        )
    config = ctx.config
    wanted = config.runtimes or RUNTIMES
    runtimes = find_runtimes(wanted, ctx.state / "runtimes", config.runtime_timeout)
    if not runtimes:
        raise Skip(
            f"none of {', '.join(wanted)} is on PATH; install one, or name"
            " another OCI runtime in the option runtimes"
        )
    for runtime in runtimes.values():
        ctx.export(f"runtime.{runtime.name}", runtime.program)
    ctx.export("default", next(iter(runtimes)))
    table = Table(ctx.get(METADATA))
    ctx.on_stop(await table.open())
    follower = Follower(table, ctx.log)

    def begin(task: Running) -> None:
        ctx.spawn(follower.follow, task, name=f"task {task.namespace}/{task.id}")

    tasks: dict[tuple[str, str], Running] = {}
    lifecycle = Lifecycle(table, config, ctx.log, begin)
    creator = Creator(
        tasks,
        ctx.get(CONTAINERS),
        ctx.find(SNAPSHOTS),
        runtimes,
        lifecycle,
        (ctx.state, ctx.root),
    )
    adopter = Adopter(table, lifecycle, follower, creator, ctx.log)
    for namespace, record in table.all():
        tasks[namespace, record.id] = adopter.known(namespace, record, runtimes)
    await adopter.adopt_all(tasks)
    if tasks:
        ctx.log.info("found %d tasks again", len(tasks))
    ctx.export_figures(partial(task_figures, tasks, follower))
    yield TaskService(tasks, table, lifecycle, creator)


@hookimpl
def pluggd_register() -> Registration[Tasks, Config]:
    return Registration(
        provides=TASKS,
        id="oci",
        start=start,
        config=Config,
        requires=(METADATA, CONTAINERS),
        wants=(SNAPSHOTS,),
        deadline=120.0,
        description="Runs containers through runc or crun",
    )
