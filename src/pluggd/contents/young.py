# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Ingests that are small and just begun: bytes in memory, no record, no file.

Most blobs of an image are configs and manifests of a few kB, and what comes in three
messages would cost two commits, three thread jobs and a file that is moved. Nobody is
promised an unfinished ingest after a kill, so such a one is written when it is a
blob. It becomes an ordinary ingest (`settle`) as soon as anything about it is not plain:
it grows, it is used under a lease, others have the blob, it lies idle, the store stops.

Knows the words of the service and what an ordinary ingest answers; no file.
"""

from __future__ import annotations

import time

import trio

from pluggd.contents.catalog import find_file, find_ingest
from pluggd.contents.records import IngestRecord
from pluggd.contents.rules import (
    Action,
    Write,
    algorithm_of,
    digest_of,
    wrong_offset,
)
from pluggd.services.call import lease
from pluggd.services.content import Status, WriteResult
from pluggd.services.metadata import Metadata, View
from pluggd.struct import Struct, field

MAX_COUNT = 128
"""With the 64 KiB that one may have this bounds what they take to 8 MiB."""

MAX_AGE = 30.0
"""Seconds without a write after which one is settled, so that collection sees it."""


class Young(Struct):
    """What an ordinary ingest has in its record and its file. Times in ns."""

    ref: str
    total: int
    expected: str
    started_at: int
    updated_at: int
    data: bytes = b""
    touched: float = field(default_factory=trio.current_time)
    """By trio's clock; the last write."""

    def append(self, offset: int, data: bytes) -> None:
        """Add data at the end, or at 0 in place of all there is. Raises OutOfRange."""
        if offset not in (0, len(self.data)):
            raise wrong_offset(offset, len(self.data))
        if not data and (offset or not self.data):
            return
        self.data = self.data + data if offset else data
        self.updated_at = time.time_ns()
        self.touched = trio.current_time()

    def status(self) -> Status:
        return Status(
            ref=self.ref,
            offset=len(self.data),
            total=self.total,
            expected=self.expected,
            started_at=self.started_at,
            updated_at=self.updated_at,
        )

    def result(self, action: Action) -> WriteResult:
        return WriteResult(
            action=action,
            started_at=self.started_at,
            updated_at=self.updated_at,
            offset=len(self.data),
            total=self.total,
            digest=digest_of(algorithm_of(self.expected), self.data),
        )

    def record(self) -> IngestRecord:
        """As far as the checks of a commit need one."""
        return IngestRecord(ref=self.ref, total=self.total, expected=self.expected)


class YoungIngests:
    """By namespace and ref. Whoever calls holds the lock of the ref."""

    def __init__(self, metadata: Metadata, max_bytes: int) -> None:
        """max_bytes: of one; so few that they are hashed without a thread. 0: none."""
        self._metadata = metadata
        self._max_bytes = max_bytes
        self._all: dict[tuple[str, str], Young] = {}

    def __len__(self) -> int:
        return len(self._all)

    def get(self, namespace: str, ref: str) -> Young | None:
        return self._all.get((namespace, ref))

    def ready(self, write: Write) -> Young | None:
        """The one that this goes to, if it can stay one or a new one can begin."""
        if not self._is_plain(write):
            return None
        young = self.get(write.namespace, write.ref)
        if young is None:
            return self._begin(write)
        return young if self._stays_plain(young, write) else None

    def _begin(self, write: Write) -> Young | None:
        namespace, ref, wanted = write.namespace, write.ref, write.wanted
        if write.offset or write.action == "commit" or len(self._all) >= MAX_COUNT:
            return None
        if not self._metadata.read(
            lambda view: is_new(view, namespace, ref, wanted.expected)
        ):
            return None
        now = time.time_ns()
        young = Young(ref, wanted.total, wanted.expected, now, now)
        self._all[namespace, ref] = young
        return young

    def _stays_plain(self, young: Young, write: Write) -> bool:
        total, expected = write.wanted.total, write.wanted.expected
        same = total in (0, young.total) and expected in ("", young.expected)
        return (
            # A commit only checks them.
            (same or write.action == "commit")
            and not self._metadata.read(
                lambda view: is_known(view, expected or young.expected)
            )
        )

    def _is_plain(self, write: Write) -> bool:
        size = max(write.end, write.wanted.total)
        return size <= self._max_bytes > 0 and not lease()

    def discard(self, namespace: str, ref: str) -> Young | None:
        return self._all.pop((namespace, ref), None)

    def of(self, namespace: str) -> list[Young]:
        return [young for key, young in self._all.items() if key[0] == namespace]

    def idle(self, age: float) -> list[tuple[str, str]]:
        """Namespace and ref of those that were not written to for `age` seconds."""
        before = trio.current_time() - age
        return [key for key, young in self._all.items() if young.touched <= before]


def is_known(view: View, digest: str) -> bool:
    """Whether anybody has this blob."""
    return bool(digest) and find_file(view, digest) is not None


def is_new(view: View, namespace: str, ref: str, expected: str) -> bool:
    """Whether there is no such ingest, and nobody has the blob."""
    return find_ingest(view, namespace, ref) is None and not is_known(view, expected)
