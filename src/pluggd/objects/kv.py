# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The narrow interface between objects and the store that keeps their bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

MAX_KEY = 511
"""Bytes that a key may have: LMDB's limit, and so everybody's."""


class ReadKV(Protocol):
    """One consistent state of ordered tables. Keys compare as bytes."""

    def get(self, table: str, key: bytes) -> bytes | None: ...

    def seek(
        self, table: str, start: bytes, stop: bytes | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with `start <= key < stop` in order; no changes while it is open."""
        ...

    def last(self, table: str) -> tuple[bytes, bytes] | None:
        """The pair with the greatest key."""
        ...


class KV(ReadKV, Protocol):
    """A state that can change; what was put is read back at once."""

    @property
    def notes(self) -> dict[Any, Any]:
        """What its users know of this state and would look up again for each change:
        by keys of theirs, and true of what they have put. Undoing forgets all of it."""
        ...

    def put(self, table: str, key: bytes, value: bytes) -> None: ...

    def delete(self, table: str, key: bytes) -> bool:
        """Whether the key was there."""
        ...
