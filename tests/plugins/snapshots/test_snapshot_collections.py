# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Collections go on all the time while chains of snapshots are made and let go of."""

from __future__ import annotations

from pathlib import Path

import trio

from pluggd.mount import mounted
from pluggd.services import call
from tests.plugins.snapshots.snapshots_setup import (
    SnapshotStand,
    native,
    snapshot_service,
)

WORKERS, TURNS, LAYERS = 4, 6, 3


async def make_chain(stand: SnapshotStand, worker: int, turn: int) -> None:
    """A chain under a lease is whole as long as the lease is there."""
    lease = f"{worker}-{turn}"
    await stand.lease(lease)
    snapshots = stand.service
    parent = ""
    with call.using(lease=lease):
        for number in range(LAYERS):
            key, name = f"{lease} make {number}", f"{lease} layer {number}"
            made = await snapshots.prepare(key=key, parent=parent)
            with mounted(made.mounts) as root:
                Path(root, f"{number}").write_text(lease)  # noqa: ASYNC240
            await snapshots.commit(name=name, key=key)
            parent = name
        view = await snapshots.view(key=f"{lease} see", parent=parent)
    with mounted(view.mounts, reading=True) as root:
        for number in range(LAYERS):
            assert Path(root, f"{number}").read_text() == lease  # noqa: ASYNC240
    await stand.stores.leases.delete(id=lease)


async def test_collections_take_what_nothing_holds_and_nothing_else(
    tmp_path: Path,
) -> None:
    driver = await native(tmp_path)
    with trio.fail_after(120), call.using(namespace="ns"):
        async with snapshot_service(tmp_path, {"native": driver}) as stand:
            async with trio.open_nursery() as collectors:

                async def collect() -> None:
                    while True:
                        await stand.collect()
                        await stand.service.cleanup()

                async def work(number: int) -> None:
                    for turn in range(TURNS):
                        await make_chain(stand, number, turn)

                collectors.start_soon(collect)
                async with trio.open_nursery() as workers:
                    for number in range(WORKERS):
                        workers.start_soon(work, number)
                collectors.cancel_scope.cancel()
            await stand.collect()
            # The collector that was cancelled may have left a directory half removed.
            await stand.service.cleanup()
            assert (await stand.service.list()).snapshots == []
            assert await driver.walk() == []
            assert list((tmp_path / "snapshots").iterdir()) == []
            assert await driver.check(deep=True, repair=False) == []
