# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Ordered tables in memory, with an undo log: the `KV` of the fake metadata store.

Stricter than a disk: a table that changes under an open `seek` is an error here,
because what a cursor then does differs between stores.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Any

from pluggd.errors import FailedPrecondition
from pluggd.objects.kv import MAX_KEY


class _Table:
    __slots__ = ("changes", "keys", "values")

    def __init__(self) -> None:
        self.keys: list[bytes] = []
        self.values: dict[bytes, bytes] = {}
        self.changes = 0


class MemoryKV:
    """All tables of one store. Changes since `begin` can be undone."""

    def __init__(self) -> None:
        self._tables: dict[str, _Table] = {}
        self._undo: list[tuple[str, bytes, bytes | None]] = []
        self.notes: dict[Any, Any] = {}

    def open_table(self, name: str) -> None:
        self._tables.setdefault(name, _Table())

    def table_sizes(self) -> dict[str, int]:
        """Records by table."""
        return {name: len(table.keys) for name, table in self._tables.items()}

    def begin(self) -> None:
        """Changes from here on are one transaction."""
        self._undo.clear()

    def roll_back(self) -> None:
        """Undo all changes since `begin`."""
        undo, self._undo = self._undo, []
        for table, key, value in reversed(undo):
            if value is None:
                self.delete(table, key)
            else:
                self.put(table, key, value)
        self._undo.clear()
        self.notes.clear()

    def _table(self, name: str) -> _Table:
        table = self._tables.get(name)
        if table is None:
            raise FailedPrecondition(
                f'table "{name}" is not open, call open_table in start: '
                "failed precondition"
            )
        return table

    def get(self, table: str, key: bytes) -> bytes | None:
        return self._table(table).values.get(key)

    def seek(
        self, table: str, start: bytes, stop: bytes | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        return self._seek(self._table(table), start, stop)

    @staticmethod
    def _seek(
        table: _Table, start: bytes, stop: bytes | None
    ) -> Iterator[tuple[bytes, bytes]]:
        changes = table.changes
        index = bisect_left(table.keys, start)
        while index < len(table.keys):
            key = table.keys[index]
            if stop is not None and key >= stop:
                return
            yield key, table.values[key]
            if table.changes != changes:
                raise RuntimeError(
                    "a table changed while it was being listed; make a list of the "
                    "listing before changing the table"
                )
            index += 1

    def last(self, table: str) -> tuple[bytes, bytes] | None:
        found = self._table(table)
        if not found.keys:
            return None
        key = found.keys[-1]
        return key, found.values[key]

    def put(self, table: str, key: bytes, value: bytes) -> None:
        if not 0 < len(key) <= MAX_KEY:
            raise ValueError(f"a key has 1 to {MAX_KEY} bytes, not {len(key)}")
        found = self._table(table)
        old = found.values.get(key)
        self._undo.append((table, key, old))
        if old is None:
            found.changes += 1
            if found.keys and key < found.keys[-1]:
                insort(found.keys, key)
            else:
                found.keys.append(key)
        found.values[key] = bytes(value)

    def delete(self, table: str, key: bytes) -> bool:
        found = self._table(table)
        old = found.values.pop(key, None)
        if old is None:
            return False
        found.changes += 1
        self._undo.append((table, key, old))
        del found.keys[bisect_left(found.keys, key)]
        return True
