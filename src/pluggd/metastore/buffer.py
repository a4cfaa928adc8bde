# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Changes on their way into an open transaction: written to memory, read through.

The updates of a group run one after the other over one buffer. What one of them wrote
can be undone for the price of remembering it, where a part of an engine's transaction
costs more; and what all of them wrote goes into the tables at the end in one
run, in the order of the keys, each key once.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from enum import Enum
from typing import Any, Final

from pluggd.metastore.engine import Tables
from pluggd.objects.kv import MAX_KEY

Pair = tuple[bytes, bytes]


class _Absent(Enum):
    """What a table of changes has for a key that nobody changed."""

    ABSENT = 0


_ABSENT: Final = _Absent.ABSENT


class _Changes:
    """What was changed in one table. A value of None is a deletion.

    fresh: the keys that came since the last listing. last: the greatest pair of the
    table below, which does not change meanwhile.
    """

    __slots__ = ("_order", "fresh", "last", "last_known", "values")

    def __init__(self) -> None:
        self.values: dict[bytes, bytes | None] = {}
        self.fresh: list[bytes] = []
        self._order: list[bytes] = []
        self.last: Pair | None = None
        self.last_known = False

    def sorted(self) -> list[bytes]:
        """The keys in order; valid until the next change."""
        fresh = self.fresh
        if fresh:
            # Some updates list after each change and have few, others list once.
            if len(fresh) > 8:
                self._order = sorted(self.values)
            else:
                for key in fresh:
                    insort(self._order, key)
            fresh.clear()
        return self._order

    def drop(self, key: bytes) -> None:
        """Forget that this key was changed."""
        del self.values[key]
        self._order.clear()
        self.fresh[:] = self.values


class Buffer:
    """A `KV` over the tables of an open transaction, which it changes in `apply` only.

    size: bytes of keys and values put since it was made.
    """

    __slots__ = ("_base", "_changes", "_undo", "notes", "size")

    def __init__(self, base: Tables) -> None:
        self._base = base
        self._changes: dict[str, _Changes] = {}
        self._undo: list[tuple[_Changes, bytes, bytes | _Absent | None]] = []
        self.notes: dict[Any, Any] = {}
        self.size = 0

    # --- a KV

    def get(self, table: str, key: bytes) -> bytes | None:
        changes = self._changes.get(table)
        if changes is not None:
            value = changes.values.get(key, _ABSENT)
            if value is not _ABSENT:
                return value
        return self._base.get(table, key)

    def put(self, table: str, key: bytes, value: bytes) -> None:
        length = len(key)
        if not 0 < length <= MAX_KEY:
            raise self._base.bad_key(length)
        self.size += length + len(value)
        # As `_change`, written out: a create of an image puts eight times.
        changes = self._changes.get(table)
        if changes is None:
            changes = self._open(table)
        values = changes.values
        before = values.get(key, _ABSENT)
        self._undo.append((changes, key, before))
        if before is _ABSENT:
            changes.fresh.append(key)
        values[key] = bytes(value)

    def delete(self, table: str, key: bytes) -> bool:
        there = self.get(table, key) is not None
        if there:
            self._change(table, key, None)
        return there

    def seek(
        self, table: str, start: bytes, stop: bytes | None = None
    ) -> Iterator[Pair]:
        changes = self._changes.get(table)
        below = self._base.seek(table, start, stop)
        if changes is None or not changes.values:
            return below
        order = changes.sorted()
        low = bisect_left(order, start)
        high = len(order) if stop is None else bisect_left(order, stop)
        if low >= high:
            return below
        return _merged(below, order[low:high], changes.values)

    def last(self, table: str) -> Pair | None:
        changes = self._changes.get(table)
        if changes is None:
            changes = self._open(table)
        if not changes.last_known:
            changes.last, changes.last_known = self._base.last(table), True
        below, values = changes.last, changes.values
        if below is not None and values.get(below[0], _ABSENT) is None:
            # It was deleted; the next one that was not is seldom far.
            below = next(
                (
                    pair
                    for pair in self._base.descending(table)
                    if values.get(pair[0], _ABSENT) is not None
                ),
                None,
            )
        for key in reversed(changes.sorted()):
            if below is not None and key < below[0]:
                break
            value = values[key]
            if value is not None:
                return key, value
        return below

    # --- of the group

    def keep(self) -> None:
        """What was changed until now is not undone any more."""
        self._undo.clear()

    def undo(self) -> None:
        """Take back what was changed since the last `keep`."""
        self.notes.clear()
        for changes, key, before in reversed(self._undo):
            if before is _ABSENT:
                changes.drop(key)
            else:
                changes.values[key] = before
        self._undo.clear()

    @property
    def empty(self) -> bool:
        """Whether nothing is changed."""
        return not any(changes.values for changes in self._changes.values())

    def apply(self) -> None:
        """Make the changes in the transaction below. Raises what the engine does."""
        for table, changes in self._changes.items():
            puts: list[Pair] = []
            for key in changes.sorted():
                value = changes.values[key]
                if value is not None:
                    puts.append((key, value))
                else:
                    self._base.delete(table, key)
            if puts:
                self._base.put_many(table, puts)

    def _open(self, table: str) -> _Changes:
        self._base.check(table)
        changes = self._changes[table] = _Changes()
        return changes

    def _change(self, table: str, key: bytes, value: bytes | None) -> None:
        changes = self._changes.get(table)
        if changes is None:
            changes = self._open(table)
        values = changes.values
        before = values.get(key, _ABSENT)
        self._undo.append((changes, key, before))
        if before is _ABSENT:
            changes.fresh.append(key)
        values[key] = value


def _merged(
    below: Iterator[Pair], keys: list[bytes], values: dict[bytes, bytes | None]
) -> Iterator[Pair]:
    """The pairs of `below` with these keys changed; `keys` are sorted."""
    # Taken now: while a listing is open nothing changes, but the dict is the group's.
    changed = [(key, values[key]) for key in keys]
    index, end = 0, len(changed)
    for pair in below:
        while index < end and changed[index][0] < pair[0]:
            key, value = changed[index]
            index += 1
            if value is not None:
                yield key, value
        if index < end and changed[index][0] == pair[0]:
            key, value = changed[index]
            index += 1
            if value is not None:
                yield key, value
        else:
            yield pair
    for key, value in changed[index:]:
        if value is not None:
            yield key, value
