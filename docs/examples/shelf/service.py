# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the shelf offers: the interface that other plugins and clients import."""

from __future__ import annotations

from typing import Protocol

from pluggd.model.record import Record
from pluggd.model.types import Time
from pluggd.services.kind import Kind
from pluggd.services.rpc import rpc


class Note(Record, frozen=True):
    """A text on an image. written_at: ns since the epoch, set by the store."""

    image: str = ""
    text: str = ""
    written_at: Time = 0


class Notes(Record, frozen=True):
    notes: list[Note] = []


class Shelf(Protocol):
    """Notes on images, by namespace."""

    @rpc(result="note")
    async def put(self, *, note: Note) -> Note:
        """Write or replace a note. Raises InvalidArgument, NotFound (the image)."""
        ...

    @rpc(result="note")
    async def get(self, *, image: str) -> Note:
        """Raises NotFound."""
        ...

    @rpc()
    async def list(self) -> Notes:
        """In byte order of the image's name."""
        ...


SHELF = Kind("example.shelf.v1", Shelf)
