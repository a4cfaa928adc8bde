# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Images: names that point to content."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pluggd.model.record import Record
from pluggd.model.types import Descriptor, Time
from pluggd.services.kind import Kind
from pluggd.services.rpc import rpc


class Image(Record, frozen=True):
    """A name and the descriptor it stands for. Times: ns since the epoch, set by the store."""

    name: str = ""
    labels: dict[str, str] = {}
    target: Descriptor = Descriptor()
    created_at: Time = 0
    updated_at: Time = 0


class ImageList(Record, frozen=True):
    """A page of images. `next`: the `after` of the next page, "" on the last."""

    images: list[Image] = []
    next: str = ""


class Images(Protocol):
    """The store checks the form of a record, not that the target exists."""

    @rpc(result="image")
    async def create(self, *, image: Image) -> Image:
        """Create an image; times in the request are ignored.

        Raises InvalidArgument (name, labels, target), AlreadyExists.
        """
        ...

    @rpc(result="image")
    async def get(self, *, name: str) -> Image:
        """One image, by its whole name. Raises NotFound."""
        ...

    @rpc()
    async def list(
        self, *, filters: Sequence[str] = (), limit: int = 0, after: str = ""
    ) -> ImageList:
        """List in byte order of the name; filters are joined by or, limit 0 is all.

        Filters: `name`, `target.digest`, `target.mediatype`, `labels.<key>`,
        `annotations.<key>`. Raises InvalidArgument for a bad filter or limit.
        """
        ...

    @rpc(result="image")
    async def update(self, *, image: Image, fields: Sequence[str] = ()) -> Image:
        """Replace what is named; without `fields`, everything but the times.

        Fields: `labels`, `labels.<key>`, `target` (as a whole), `annotations`,
        `annotations.<key>`. A key named but not given is removed.
        Raises NotFound, InvalidArgument.
        """
        ...

    @rpc()
    async def delete(self, *, name: str, sync: bool = False, target: str = "") -> None:
        """Delete the name; its content goes with the next collection.

        sync: return after a whole collection that began after the delete.
        target: delete only while it points to this digest.
        Raises NotFound; FailedPrecondition for `sync` without a GC policy, Unavailable
        for `sync` when it is deleted and bytes could not be removed yet.
        """
        ...


IMAGES = Kind("pluggd.images.v1", Images)
