# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The group commit where LMDB differs from others: its map, and its lock."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import trio
import trio.testing

from pluggd.errors import ResourceExhausted
from tests.metastore.stores import Gate, fill, opened_lmdb


async def test_a_full_map_is_no_harder_than_a_quota(tmp_path: Path) -> None:
    async with opened_lmdb(tmp_path, map_size=1 << 20) as store:
        stored = await fill(store)
        assert stored > 50
        for number in range(stored):
            await store.drop(b"%d" % number)
        await store.put(b"more", bytes(20_000))


async def test_one_update_that_exceeds_the_map_leaves_the_store_sound(
    tmp_path: Path,
) -> None:
    async with opened_lmdb(tmp_path, map_size=1 << 20) as store:
        with pytest.raises(ResourceExhausted):
            await store.put(b"a", bytes(2 << 20))
        await store.put(b"a", b"1")
        assert store.get(b"a") == b"1"


async def test_an_idle_store_lets_other_programs_write(tmp_path: Path) -> None:
    """Also those that only copy: mdb_copy without -c asks for the same lock."""
    write = "import lmdb, sys; lmdb.open(sys.argv[1], max_dbs=9).begin(write=True)"
    async with opened_lmdb(tmp_path) as store:
        await store.put(b"a")
        done = await trio.run_process([sys.executable, "-c", write, str(tmp_path)])
        assert done.returncode == 0
        await store.put(b"b")


async def test_changes_that_do_not_fit_one_transaction_are_told_apart(
    tmp_path: Path,
) -> None:
    """Together they exceed the map, which LMDB says only when they are made."""
    async with opened_lmdb(tmp_path, map_size=16 << 20) as store:
        gate = Gate(store)
        fates: dict[int, bool] = {}

        async def one(number: int, size: int) -> None:
            try:
                await store.put(b"%d" % number, bytes(size))
                fates[number] = True
            except ResourceExhausted:
                fates[number] = False

        async with trio.open_nursery() as nursery:
            nursery.start_soon(gate)
            await gate.entered.wait()
            for number in range(8):
                nursery.start_soon(one, number, 100 if number != 5 else 17 << 20)
            await trio.testing.wait_all_tasks_blocked()
            gate.open()
        assert fates == {number: number != 5 for number in range(8)}
        for number in range(8):
            assert (store.get(b"%d" % number) is not None) == (number != 5)
