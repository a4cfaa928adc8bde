# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the store says to monitoring is what it did."""

from __future__ import annotations

from pathlib import Path

import trio

from pluggd.services.namespaces import Namespace
from pluggd.testing import running_daemon


async def test_commits_are_counted_by_size_and_duration(tmp_path: Path) -> None:
    async with running_daemon(tmp_path) as daemon, daemon.client() as client:

        async def figures() -> dict[str, tuple[int, float]]:
            stats = await client.introspection.stats(names=["metadata_"])
            return {
                one.name: (sum(one.samples[0].counts), one.samples[0].value)
                for one in stats.figures
            }

        before = await figures()
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                for number in range(20):
                    space = Namespace(name=f"n{number}")

                    async def create(space: Namespace = space) -> None:
                        await client.namespaces.create(namespace=space)

                    nursery.start_soon(create)
        after = await figures()
    commits, updates = (
        now - then
        for now, then in zip(
            after["metadata_batch_updates"],
            before["metadata_batch_updates"],
            strict=True,
        )
    )
    assert updates >= 20
    assert 1 <= commits <= updates
    times = after["metadata_commit_seconds"][0] - before["metadata_commit_seconds"][0]
    assert times == commits
    assert after["metadata_commit_seconds"][1] > before["metadata_commit_seconds"][1]
    assert 0 < after["metadata_used_bytes"][1] < after["metadata_map_bytes"][1]
