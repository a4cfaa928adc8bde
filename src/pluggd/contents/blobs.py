# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where the bytes of blobs lie: what a content store needs of a disk, a bucket, a tape.

Whoever implements `Blobs` has a content store with all its rules (`assembly`). Nothing
here knows records or namespaces: a blob is a digest, and bytes that were checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from pluggd.services.fsck import Problem
from pluggd.struct import Struct


class BlobMissing(Exception):
    """There are no bytes under this digest. The text says what is not there, in the
    words of the place: `its file is missing`."""


class Stranger(Struct, frozen=True):
    """Something that lies where only blobs belong. path: as `Blobs` names it. directory:
    it is one, which `remove_stranger` does not remove."""

    path: str
    size: int
    directory: bool = False


class OpenBlob(Protocol):
    """The bytes of one blob, to be read. Its methods raise BlobMissing, DataLoss for
    bytes that cannot be had, and Unavailable when that may pass."""

    async def piece(self, offset: int, size: int, more: int = 0) -> bytes:
        """Up to `size` bytes from `offset`; none at the end. more: how many the caller
        is going to ask for right behind them."""
        ...

    async def digest(self) -> str:
        """Of all bytes as they are now, by the algorithm of the blob's name."""
        ...

    async def descriptor(self) -> int:
        """A read-only descriptor of all bytes; the caller closes it."""
        ...

    async def is_current(self) -> bool:
        """Whether what was opened is still what lies under the digest."""
        ...

    def close(self) -> None: ...


class Blobs(Protocol):
    """Bytes under their digests, in one place.

    Whoever puts or removes a blob holds the guard of its digest. All methods raise
    Unavailable when the place cannot be reached.
    """

    def path(self, digest: str) -> str:
        """Where a blob lies, for people."""
        ...

    async def open(self, digest: str, size: int | None) -> OpenBlob:
        """size: what is recorded; DataLoss at the latest with the first piece when there
        is another number of bytes. Raises BlobMissing, at the latest then."""
        ...

    async def size(self, digest: str) -> int | None:
        """Bytes that are in place; None for none at all."""
        ...

    async def put(self, digest: str, data: bytes, *, known: bool) -> None:
        """Put bytes in place, durably. When it raises, nothing is in place, or what was
        there before.

        known: whether a record names the digest. If none does, nobody takes what lies
        there for the blob, and a loss of power may leave anything.
        """
        ...

    async def publish(self, digest: str, file: str, size: int) -> bool:
        """Put the bytes of a file of the spool in place, durably, as `put` does.

        Whether the file is gone from the spool. It does not change while this runs.
        """
        ...

    async def withdraw(self, digest: str, file: str) -> None:
        """Undo `publish`: the blob is gone, and the file is in the spool."""
        ...

    async def copy(self, digest: str, size: int, file: str) -> None:
        """Make a file of the spool from a blob."""
        ...

    async def remove(self, digests: Sequence[str]) -> int:
        """Remove those that are there; the bytes freed."""
        ...

    # --- what there is

    async def digests(self) -> list[str]:
        """Of all blobs in place, in no order."""
        ...

    async def strangers(self) -> list[Stranger]:
        """What no blob, and nothing else of the store, is named like."""
        ...

    async def remove_stranger(self, path: str) -> bool:
        """Whether it is gone."""
        ...

    async def problems(
        self, recorded: Iterable[tuple[str, int]], *, deep: bool
    ) -> Mapping[str, tuple[Problem, str]]:
        """What is wrong with these blobs (digest, recorded size), and in words; sound
        ones are left out. deep: read all bytes."""
        ...
