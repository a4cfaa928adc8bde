# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""That the files and the records belong together.

A file without a record is removed at the next start; so a store whose metadata was
lost, or that was pointed at another metadata store, would remove every blob it has.
Files and records therefore carry one name, made at the first start. The record is
made first: a kill in between leaves a record without a file, which is harmless.
"""

from __future__ import annotations

import os
from pathlib import Path

import trio

from pluggd.errors import FailedPrecondition
from pluggd.model.record import decode, encode
from pluggd.services.metadata import Metadata
from plugins.content.records import STORE

_RECORD = "id"
_FILE = "id"


async def check_identity(metadata: Metadata, root: Path, *, empty: bool) -> None:
    """Give a new store its name, and refuse one whose two halves have different ones.

    empty: whether the store has no blob on disk. Raises FailedPrecondition.
    """
    file = root / _FILE
    on_disk = await trio.to_thread.run_sync(_read, file)
    record = await metadata.view(lambda view: view.get(STORE, "", _RECORD))
    known = None if record is None else decode(record, str)
    if known is None:
        if on_disk is not None or not empty:
            raise _strangers(root, "does not know them")
        from uuid import uuid4  # once in the life of a store

        known = str(uuid4())
        new = encode(known)
        await metadata.update(lambda txn: txn.put(STORE, "", _RECORD, new))
    if on_disk is None:
        await trio.to_thread.run_sync(_write, file, known)
    elif on_disk != known:
        raise _strangers(root, "belongs to others")


def _strangers(root: Path, what: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"the blobs in {root} are not those of this metadata store, which {what}: "
        "starting would remove them all. Restore the metadata that was here, select "
        "the store that they belong to, or move the directory away to begin anew: "
        "failed precondition"
    )


def _read(file: Path) -> str | None:
    try:
        return file.read_text("utf-8").strip()
    except FileNotFoundError:
        return None


def _write(file: Path, text: str) -> None:
    temporary = file.with_suffix(".new")
    with open(temporary, "w", encoding="utf-8") as stream:
        stream.write(f"{text}\n")
        stream.flush()
        os.fsync(stream.fileno())
    os.rename(temporary, file)
    directory = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
