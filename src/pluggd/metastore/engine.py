# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a metadata store needs of whatever keeps its tables in files.

An engine neither knows what is stored nor who runs when. Reads are begun and ended in
the trio thread. Write transactions are begun and ended by the one thread of the store
(`worker.py`); in between the trio thread uses them, never both at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from pluggd.errors import PluggdError
from pluggd.objects.kv import KV, ReadKV


class Txn(Protocol):
    """A transaction as its owner has it. `abort` after `commit` does nothing."""

    def commit(self) -> None: ...

    def abort(self) -> None: ...


class Tables(KV, Protocol):
    """A `KV` over a write transaction, with what a buffer above it needs."""

    def check(self, table: str) -> None:
        """Raises FailedPrecondition for a table that is not open."""
        ...

    def descending(self, table: str) -> Iterator[tuple[bytes, bytes]]:
        """All pairs, the greatest key first."""
        ...

    def put_many(self, table: str, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        """`put` of each; they come in the order of their keys."""
        ...

    def bad_key(self, length: int) -> Exception:
        """What `put` raises for a key with so many bytes."""
        ...


class Engine(Protocol):
    """An open file or directory of files, and its tables.

    name: of the provider. path: its directory. file: the one that holds the data.
    errors: what it raises when it cannot read or write. own_fault: those of them that a
    wrong key or a kept iterator causes, a bug of one update. too_much: those that say
    that one update changes too much. tables: those that are open.
    A transaction of its own type is handed back to it only, hence Any.
    """

    @property
    def name(self) -> str: ...

    @property
    def path(self) -> Path: ...

    @property
    def file(self) -> Path: ...

    @property
    def errors(self) -> type[Exception]: ...

    @property
    def own_fault(self) -> tuple[type[Exception], ...]: ...

    @property
    def too_much(self) -> tuple[type[Exception], ...]: ...

    @property
    def tables(self) -> Mapping[str, Any]: ...

    def stored_tables(self) -> list[str]:
        """The names of all tables in the file, also of those that are not open."""
        ...

    def begin_read(self) -> Txn:
        """Raises one of `errors`."""
        ...

    def begin_write(self, parent: Any = None) -> Txn:
        """With `parent`, a part of that transaction, which can be undone by itself."""
        ...

    def reader(self, txn: Any) -> ReadKV: ...

    def writer(self, txn: Any) -> Tables: ...

    def create_table(self, name: str, txn: Any) -> Any:
        """Open or make a named table; `add_table` makes it usable after the commit."""
        ...

    def add_table(self, name: str, table: Any, /) -> None: ...

    def is_full(self, error: BaseException) -> bool:
        """Whether this failure to write means that there is no room."""
        ...

    def unreadable(self, error: BaseException) -> PluggdError:
        """What a reader is told of this error."""
        ...

    def size(self) -> int:
        """Bytes of the file that are or were in use."""
        ...

    def reader_check(self) -> int:
        """Free what readers left that died; how many."""
        ...

    def copy(self, path: Path) -> None:
        """Write a compacted, synced copy into an existing empty directory, while
        commits go on. Runs in a thread of its own."""
        ...

    def close(self) -> None:
        """Idempotent. No transaction may be open."""
        ...
