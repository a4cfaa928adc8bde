# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Several things at once, of which one failing is the failure of all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

Job = Callable[[], Awaitable[object]]


async def together(*jobs: Job) -> None:
    """Run all; the first error cancels the others and comes out as it is, not in a group."""
    failed: list[Exception] = []
    async with trio.open_nursery() as nursery:

        async def run(job: Job) -> None:
            try:
                await job()
            except Exception as error:  # noqa: BLE001  # raised again below, unwrapped
                failed.append(error)
                nursery.cancel_scope.cancel()

        for job in jobs:
            nursery.start_soon(run, job)
    if failed:
        raise failed[0]
