# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""That the bytes and the records belong together.

Bytes without a record are removed at the next start; so a store whose metadata was
lost, or that was pointed at another metadata store, would remove every blob it has.
Bytes and records therefore carry one name, made at the first start. The record is
made first: a kill in between leaves a record without a mark, which is harmless.
"""

from __future__ import annotations

from itertools import islice
from typing import Protocol

from pluggd.contents.records import FILES, STORE
from pluggd.errors import FailedPrecondition
from pluggd.model.record import decode, encode
from pluggd.services.metadata import Metadata

_RECORD = "id"
_PLACE = "place"


class Mark(Protocol):
    """The name of a store, kept beside its bytes."""

    @property
    def place(self) -> str:
        """Where the bytes are when another provider cannot see them there; "" for the
        directory of the plugin."""
        ...

    @property
    def where(self) -> str:
        """Where the bytes are, for people."""
        ...

    @property
    def way_out(self) -> str:
        """What to do to begin anew: `move the directory away`."""
        ...

    async def read(self) -> str | None: ...

    async def write(self, name: str) -> None:
        """Durably. Raises FailedPrecondition when another store was faster."""
        ...

    async def is_empty(self) -> bool:
        """Whether there is no blob."""
        ...


async def check_identity(metadata: Metadata, mark: Mark) -> None:
    """Give a new store its name, and refuse one whose two halves have different ones.

    Raises FailedPrecondition.
    """
    on_bytes = await mark.read()
    record = await metadata.view(lambda view: view.get(STORE, "", _RECORD))
    known = None if record is None else decode(record, str)
    if known is None:
        if on_bytes is not None or not await mark.is_empty():
            raise strangers(mark, "does not know them")
        from uuid import uuid4  # once in the life of a store

        known = str(uuid4())
        new = encode(known)
        await metadata.update(lambda txn: txn.put(STORE, "", _RECORD, new))
    elif on_bytes is None:
        await _check_place(metadata, mark)
    if on_bytes is None:
        await mark.write(known)
    elif on_bytes != known:
        raise strangers(mark, "belongs to others")
    await _note_place(metadata, mark.place)


async def _check_place(metadata: Metadata, mark: Mark) -> None:
    """The records have bytes, and they are not here: where another provider put them?"""
    place = await _place(metadata)
    has_blobs = await metadata.view(
        lambda view: any(True for _ in islice(view.scan(FILES, ""), 1))
    )
    if has_blobs and place != mark.place:
        raise FailedPrecondition(
            f"the blobs that the metadata store knows are in "
            f"{place or 'the directory of another content plugin'} and not in "
            f"{mark.where}: select the plugin that has them, or begin anew with "
            f"another root: failed precondition"
        )


async def _note_place(metadata: Metadata, place: str) -> None:
    if await _place(metadata) != place:
        new = encode(place)
        await metadata.update(lambda txn: txn.put(STORE, "", _PLACE, new))


async def _place(metadata: Metadata) -> str:
    record = await metadata.view(lambda view: view.get(STORE, "", _PLACE))
    return "" if record is None else decode(record, str)


def strangers(mark: Mark, what: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"the blobs in {mark.where} are not those of this metadata store, which {what}: "
        "starting would remove them all. Restore the metadata that was here, select "
        f"the store that they belong to, or {mark.way_out} to begin anew: "
        "failed precondition"
    )
