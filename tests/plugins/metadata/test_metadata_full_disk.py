# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A disk that is really full: a small tmpfs, filled up.

Needs the right to mount, which CI has; skipped without it.
"""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from pluggd.errors import ResourceExhausted
from pluggd.metastore.jobs import Job
from pluggd.metastore.writer import Writer
from pluggd.objects.kv import KV
from plugins.metadata.environment import DATA, Environment
from plugins.metadata.group import Group
from plugins.metadata.reserve import Reserve

LOG = logging.LoggerAdapter(logging.getLogger("test"), {})
DISK = 4 << 20
KEEP = 512 << 10


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(path)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode != 0:
        pytest.skip(f"may not mount a tmpfs: {done.stderr.strip()}")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


class Store:
    def __init__(self, path: Path, reserve: int) -> None:
        self.environment = Environment(path / "meta", 1 << 40)
        self.environment.prepare(["t"])
        self.reserve = Reserve(path / "meta" / DATA, reserve)
        group = Group[KV](self.environment, self.reserve, lambda kv: kv, LOG)
        self.writer = Writer(group, lambda _: None, LOG)

    async def update(
        self, function: Callable[[KV], Any], *, reclaim: bool = False
    ) -> Any:
        return await self.writer.submit(Job(function, reclaim=reclaim))

    async def put(self, number: int, size: int = 1000) -> None:
        value = bytes(size)
        await self.update(lambda kv: kv.put("t", b"%06d" % number, value))

    async def drop(self, number: int) -> None:
        await self.update(lambda kv: kv.delete("t", b"%06d" % number), reclaim=True)

    def count(self) -> int:
        txn = self.environment.begin_read()
        try:
            return sum(1 for _ in self.environment.reader(txn).seek("t", b""))
        finally:
            txn.abort()

    async def close(self) -> None:
        await self.writer.aclose()
        self.environment.close()


async def fill(store: Store) -> int:
    """Put until there is no room; how many were acknowledged."""
    for number in range(100_000):
        try:
            await store.put(number)
        except ResourceExhausted:
            return number
    raise AssertionError("the disk is never full")


def fill_up(ballast: Path) -> None:
    def write_for_ever() -> None:
        with ballast.open("ab", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    with pytest.raises(OSError, match="No space left"):
        write_for_ever()


async def test_on_a_full_disk_reads_and_deletions_go_on_and_writes_come_back(
    disk: Path,
) -> None:
    with trio.fail_after(60):
        store = Store(disk, KEEP)
        stored = await fill(store)
        assert 1000 < stored < 4000
        assert store.count() == stored
        for number in (10**5, 10**5 + 1):
            with pytest.raises(ResourceExhausted, match="no space left for metadata"):
                await store.put(number)
        for number in range(stored):
            await store.drop(number)
        assert store.count() == 0
        for number in range(stored // 2):
            await store.put(number)
        assert store.count() == stored // 2
        await store.close()


async def test_refused_writes_do_not_eat_what_deletions_need(disk: Path) -> None:
    with trio.fail_after(60):
        store = Store(disk, KEEP)
        stored = await fill(store)
        for number in range(stored):
            with pytest.raises(ResourceExhausted):
                await store.put(10**5, 200_000)
            await store.drop(number)
            if number == 50:
                break
        assert store.count() == stored - 51
        await store.close()


async def test_a_batch_on_a_full_disk_refuses_the_ones_and_serves_the_others(
    disk: Path,
) -> None:
    with trio.fail_after(60):
        store = Store(disk, KEEP)
        stored = await fill(store)
        refused: list[int] = []

        async def put(number: int) -> None:
            try:
                await store.put(10**5 + number, 100_000)
            except ResourceExhausted:
                refused.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(put, number)
                nursery.start_soon(store.drop, number)
        assert len(refused) == 20
        assert store.count() == stored - 20
        await store.close()


async def test_a_start_on_a_full_disk_works_and_writes_return_with_the_room(
    disk: Path,
) -> None:
    with trio.fail_after(60):
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(1 << 20))
        store = Store(disk, KEEP)
        stored = await fill(store)
        await store.close()
        fill_up(ballast)
        store = Store(disk, KEEP)
        assert store.count() == stored
        with pytest.raises(ResourceExhausted):
            await store.put(10**5)
        await store.drop(1)
        ballast.unlink()
        await store.put(10**5)
        assert store.count() == stored
        await store.close()


async def test_after_a_failed_commit_nothing_of_it_is_there(disk: Path) -> None:
    """Also not after a start, which trusts only what the file says."""
    with trio.fail_after(60):
        store = Store(disk, KEEP)
        with pytest.raises(ResourceExhausted):
            await store.put(1, DISK)
        assert store.count() == 0
        data = (disk / "meta" / DATA).stat()
        assert data.st_blocks * 512 < DISK // 2
        await store.put(2, 1000)
        await store.close()
        store = Store(disk, KEEP)
        assert store.count() == 1
        await store.close()
