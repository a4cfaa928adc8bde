# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The process that test_metadata_kill kills: it writes, and says what is durable.

Each of its tasks makes records `<round>-<task>-<number>` with an event each, and
prints a line once `update` has returned; every fifth update raises after both.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import trio

from pluggd.objects.tables import TABLES
from pluggd.services.metadata import Metadata, Transaction
from tests.crash.metadata_stores import store as open_store

TABLE = "ledger"
NAMESPACE = "crash"
TASKS = 16


class Rollback(Exception):
    pass


async def write(store: Metadata, front: str) -> None:
    number = 0
    while True:
        name = f"{front}-{number}"
        fails = number % 5 == 4

        def change(txn: Transaction, name: str = name, fails: bool = fails) -> None:
            txn.put(TABLE, NAMESPACE, name, name.encode() * 20)
            txn.emit(NAMESPACE, "/ledger/made", "test.Made", name)
            if fails:
                raise Rollback

        try:
            await store.update(change)
        except Rollback:
            pass
        else:
            os.write(1, f"{name}\n".encode())
        number += 1


async def main(provider: str, path: str, front: str) -> None:
    store = open_store(provider, Path(path), [*TABLES, TABLE])
    async with trio.open_nursery() as nursery:
        for task in range(TASKS):
            nursery.start_soon(write, store, f"{front}-{task}")


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2], sys.argv[3])
