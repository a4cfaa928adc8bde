# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""All pairs of one metadata store put into another one, and compared afterwards.

For stores that nobody else uses meanwhile. Tables go as bytes, so what refers to what,
the log of events with its numbers, and what waits for collection are the same there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from pluggd.errors import DataLoss, FailedPrecondition
from pluggd.metastore.schema import SCHEMA_TABLE
from pluggd.metastore.store import StoredMetadata
from pluggd.objects.transaction import ObjectTransaction, ObjectView

Store = StoredMetadata[Any]
Pairs = list[tuple[bytes, bytes]]

BATCH = 1000
"""Pairs of one commit."""


@dataclass(frozen=True)
class Copied:
    """records: by table. digest: sha256 over all tables with all their pairs, hex."""

    records: dict[str, int]
    digest: str


async def copy(
    source: Store, target: Store, progress: Callable[[str, int], None]
) -> Copied:
    """Put everything of one store into the other, which must be empty, and compare.

    progress: told a table and how many of its records are there, after each batch.
    Raises FailedPrecondition for a target that holds something, DataLoss when the two
    are not the same afterwards.
    """
    names = await opened_tables(source)
    if any((await contents(target)).records.values()):
        raise FailedPrecondition("the target holds records: failed precondition")
    for name in names:
        if name not in target.open_tables():
            await target.open_table(name)
    for name in names:
        if name == SCHEMA_TABLE:
            continue  # each start writes its own, and the comparison has it too
        done, start = 0, b""
        while pairs := source.read(partial(_batch, table=name, start=start)):
            await target.update(partial(_put, table=name, pairs=pairs), long=True)
            start = pairs[-1][0] + b"\0"
            done += len(pairs)
            progress(name, done)
    wanted, found = await contents(source, names), await contents(target, names)
    if wanted != found:
        raise DataLoss(
            f"the copy is not what was copied: {sum(found.records.values())} records, "
            f"sha256 {found.digest}, of {sum(wanted.records.values())}, sha256 "
            f"{wanted.digest}: check both disks, nothing was changed"
        )
    return wanted


async def opened_tables(store: Store) -> list[str]:
    """The names of all tables of a store, sorted; they are open then."""
    names = store.stored_tables()
    for name in names:
        if name not in store.open_tables():
            await store.open_table(name)
    return names


async def contents(store: Store, names: list[str] | None = None) -> Copied:
    """Counts and digest of these tables, or of all but the schema's."""
    if names is None:
        names = [one for one in await opened_tables(store) if one != SCHEMA_TABLE]
    return store.read(partial(_contents, names=names))


def _contents(view: ObjectView, names: list[str]) -> Copied:
    digest = hashlib.sha256()
    records: dict[str, int] = {}
    for name in names:
        digest.update(b"%d table %s" % (len(name), name.encode()))
        count = 0
        for key, value in view.kv.seek(name, b""):
            digest.update(b"%d %d " % (len(key), len(value)))
            digest.update(key)
            digest.update(value)
            count += 1
        records[name] = count
    return Copied(records, digest.hexdigest())


def _batch(view: ObjectView, table: str, start: bytes) -> Pairs:
    return list(islice(view.kv.seek(table, start), BATCH))


def _put(txn: ObjectTransaction, table: str, pairs: Pairs) -> None:
    txn.put_pairs(table, pairs)
