# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The process that test_metadata_flush watches: updates one after the other, each
acknowledged by a line on stdout."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path

import trio

from pluggd.objects.tables import TABLES
from pluggd.services.metadata import Transaction
from tests.crash.metadata_stores import store as open_store

TABLE = "flushed"
UPDATES = 20


def change(name: str, txn: Transaction) -> None:
    txn.put(TABLE, "n", name, b"x" * 100)


async def main(provider: str, path: str) -> None:
    store = open_store(provider, Path(path), [*TABLES, TABLE])
    for number in range(UPDATES):
        await store.update(partial(change, str(number)))
        os.write(1, b"acknowledged\n")
    await store.aclose()


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2])
