# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the content store keeps in the metadata store, and under which names.

`pluggd.services.content.Info` is the record of a blob in a namespace; those here
are for the store alone. Nothing here knows files.
"""

from __future__ import annotations

from pluggd.model.record import Record

BLOBS = "content"
"""(namespace, digest): Info, the blob as a namespace sees it."""

INGESTS = "ingests"
"""(namespace, ref): IngestRecord."""

FILES = "content_files"
"""("", digest): FileRecord, the bytes that all namespaces share."""

TRASH = "content_trash"
"""("", digest or `ingest/<file>`): TrashRecord, a file that nobody names any more."""

STORE = "content_store"
"""("", "id"): the name that the files carry too (`identity.py`)."""

TABLES = (BLOBS, INGESTS, FILES, TRASH, STORE)

INGEST_TRASH = "ingest/"


class FileRecord(Record, frozen=True):
    """The bytes of a blob. references: blobs and shared ingests of all namespaces.

    damaged: the bytes were found not to have the digest; sending them again heals.
    data: of a small blob all of them, and it has no file (`inline.py`).
    """

    size: int = 0
    references: int = 0
    damaged: bool = False
    data: bytes | None = None


class IngestRecord(Record, frozen=True):
    """An ingest; how many bytes it has is told by its file. Times in ns.

    file: its name below `ingest/`. shared: it has no file but stands for all bytes
    (`size`) of the blob `expected`, which it references. descriptor: a writable
    descriptor of the file was given away. lease: under which it was last used.
    """

    ref: str = ""
    sequence: int = 0
    file: str = ""
    total: int = 0
    expected: str = ""
    started_at: int = 0
    updated_at: int = 0
    root_until: int = 0
    lease: str = ""
    shared: bool = False
    size: int = 0
    descriptor: bool = False


class TrashRecord(Record, frozen=True):
    """A file to remove. size: of a blob, in bytes. namespace, ref: of an ingest."""

    size: int = 0
    namespace: str = ""
    ref: str = ""
