# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tables of bytes over one LMDB transaction.

The adapter between `pluggd.objects.kv` and py-lmdb. It knows neither names nor
namespaces, and it neither begins nor ends the transaction: whoever made it does.
The process that marks imports this module as well, so it must stay free of trio.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import lmdb

from pluggd.errors import FailedPrecondition
from pluggd.objects.kv import MAX_KEY

if TYPE_CHECKING:
    # The stubs have no public name for what open_db returns.
    from lmdb import _Database  # pyright: ignore[reportPrivateUsage]

    Database: TypeAlias = _Database
    Tables: TypeAlias = Mapping[str, Database]
    Txn: TypeAlias = lmdb.Transaction[bytes]


class LmdbRead:
    """A `ReadKV`. Dead as soon as its transaction has ended."""

    __slots__ = ("_tables", "_txn")

    def __init__(self, txn: Txn, tables: Tables) -> None:
        self._txn = txn
        self._tables = tables

    def _database(self, table: str) -> Database:
        try:
            return self._tables[table]
        except KeyError:
            raise FailedPrecondition(
                f'table "{table}" is not open, call open_table in start: '
                "failed precondition"
            ) from None

    def get(self, table: str, key: bytes) -> bytes | None:
        return self._txn.get(key, db=self._database(table))

    def seek(
        self, table: str, start: bytes, stop: bytes | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        # Not a generator itself, so that an unknown table is reported at the call.
        return self._pairs(self._database(table), start, stop)

    def _pairs(
        self, database: Database, start: bytes, stop: bytes | None
    ) -> Iterator[tuple[bytes, bytes]]:
        with self._txn.cursor(database) as cursor:
            # LMDB knows no empty key, which everybody else sorts before all others.
            if not (cursor.set_range(start) if start else cursor.first()):
                return
            if stop is None:
                yield from cursor
                return
            # Stepping by hand costs a call per pair, iterating fetches one value
            # too many; a range that ends inside the table is short, so that is cheap.
            for pair in cursor:
                if pair[0] >= stop:
                    return
                yield pair

    def last(self, table: str) -> tuple[bytes, bytes] | None:
        with self._txn.cursor(self._database(table)) as cursor:
            return cursor.item() if cursor.last() else None

    def descending(self, table: str) -> Iterator[tuple[bytes, bytes]]:
        """All pairs, the greatest key first."""
        with self._txn.cursor(self._database(table)) as cursor:
            if cursor.last():
                yield from cursor.iterprev()

    def check(self, table: str) -> None:
        """Raises FailedPrecondition for a table that is not open."""
        self._database(table)

    def tables(self) -> Iterator[str]:
        return iter(self._tables)

    def entries(self, table: str) -> int:
        """How many keys the table has."""
        return self._txn.stat(self._database(table))["entries"]

    def pages(self) -> int:
        """Pages that the open tables occupy, the free list not counted."""
        stats = [self._txn.stat(), *map(self._txn.stat, self._tables.values())]
        return 2 + sum(
            stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
            for stat in stats
        )


class LmdbWrite(LmdbRead):
    """A `KV`. One thread at a time may use it; only its owner may end the transaction."""

    __slots__ = ("notes",)

    def __init__(self, txn: Txn, tables: Tables) -> None:
        super().__init__(txn, tables)
        self.notes: dict[Any, Any] = {}

    def put(self, table: str, key: bytes, value: bytes) -> None:
        self._txn.put(key, value, db=self._database(table))

    def delete(self, table: str, key: bytes) -> bool:
        return self._txn.delete(key, db=self._database(table))

    def bad_key(self, length: int) -> lmdb.Error:
        return lmdb.BadValsizeError(f"a key has 1 to {MAX_KEY} bytes, not {length}")

    def put_many(self, table: str, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        """`put` of each; cheapest when they are in the order of their keys."""
        with self._txn.cursor(self._database(table)) as cursor:
            cursor.putmulti(pairs)
