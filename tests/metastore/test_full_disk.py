# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Each engine on a disk that is really full."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import trio

from pluggd.errors import ResourceExhausted
from plugins.metadata.environment import DATA
from tests.disks import fill_up, small_disk
from tests.metastore.stores import OPENED, Opened, Store

DISK = {"lmdb": 4 << 20, "sqlite": 6 << 20}
"""SQLite has a log beside its file."""

KEEP = 512 << 10


@pytest.fixture(params=DISK)
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def disk(tmp_path: Path, engine: str) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", DISK[engine]) as path:
        yield path


@pytest.fixture
def opened(engine: str) -> Opened:
    return partial(OPENED[engine], reserve=KEEP)


async def put(store: Store, number: int, size: int = 1000) -> None:
    await store.put(b"%06d" % number, bytes(size))


async def drop(store: Store, number: int) -> None:
    await store.drop(b"%06d" % number)


async def fill(store: Store) -> int:
    """Put until there is no room; how many were acknowledged."""
    for number in range(100_000):
        try:
            await put(store, number)
        except ResourceExhausted:
            return number
    raise AssertionError("the disk is never full")


async def test_on_a_full_disk_reads_and_deletions_go_on_and_writes_come_back(
    disk: Path, opened: Opened
) -> None:
    async with opened(disk) as store:
        stored = await fill(store)
        assert 1000 < stored < 4000
        assert store.count() == stored
        for number in (10**5, 10**5 + 1):
            with pytest.raises(ResourceExhausted, match="no space left for metadata"):
                await put(store, number)
        for number in range(stored):
            await drop(store, number)
        assert store.count() == 0
        for number in range(stored // 2):
            await put(store, number)
        assert store.count() == stored // 2


async def test_refused_writes_do_not_eat_what_deletions_need(
    disk: Path, opened: Opened
) -> None:
    async with opened(disk) as store:
        stored = await fill(store)
        for number in range(51):
            with pytest.raises(ResourceExhausted):
                await put(store, 10**5, 200_000)
            await drop(store, number)
        assert store.count() == stored - 51


async def test_a_batch_on_a_full_disk_refuses_the_ones_and_serves_the_others(
    disk: Path, opened: Opened
) -> None:
    async with opened(disk) as store:
        stored = await fill(store)
        refused: list[int] = []

        async def put_large(number: int) -> None:
            try:
                await put(store, 10**5 + number, 100_000)
            except ResourceExhausted:
                refused.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(put_large, number)
                nursery.start_soon(drop, store, number)
        assert len(refused) == 20
        assert store.count() == stored - 20


async def test_a_start_on_a_full_disk_works_and_writes_return_with_the_room(
    disk: Path, opened: Opened
) -> None:
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(1 << 20))
    async with opened(disk) as store:
        stored = await fill(store)
    fill_up(ballast)
    async with opened(disk) as store:
        assert store.count() == stored
        with pytest.raises(ResourceExhausted):
            await put(store, 10**5)
        await drop(store, 1)
        ballast.unlink()
        await put(store, 10**5)
        assert store.count() == stored


async def test_after_a_failed_commit_nothing_of_it_is_there(
    disk: Path, opened: Opened, engine: str
) -> None:
    """Also not after a start, which trusts only what the file says."""
    async with opened(disk) as store:
        with pytest.raises(ResourceExhausted):
            await put(store, 1, DISK[engine])
        assert store.count() == 0
        if engine == "lmdb":
            # It gave back what it took of the disk, not only of the file.
            data = (store.engine.path / DATA).stat()
            assert data.st_blocks * 512 < DISK[engine] // 2
        await put(store, 2)
    async with opened(disk) as store:
        assert store.count() == 1
