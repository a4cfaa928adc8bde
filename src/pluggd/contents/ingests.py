# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Ingests as such: take one up, add to its file, give it away, remove it.

An ingest has one of three forms. Most have a file that the store writes to. A
shared one has none: another namespace's blob stands for it, and a commit only
records it. One with a descriptor has a file that somebody else writes to; how
much is in it the file tells, and nothing is done to it before a read lease has
proved that no writer is left. What a commit makes of them is `committing`.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from pluggd.contents.blobs import Blobs
from pluggd.contents.catalog import Catalog, find_ingest, has_sound_blob
from pluggd.contents.openfiles import OpenFile, OpenFiles
from pluggd.contents.placing import already_exists
from pluggd.contents.records import IngestRecord
from pluggd.contents.rules import Action, algorithm_of, wrong_offset
from pluggd.contents.spool import Spool
from pluggd.contents.writers import without_writers
from pluggd.errors import AlreadyExists
from pluggd.services.content import Status, WriteResult
from pluggd.services.metadata import Metadata, View


class Ingests:
    """The unfinished blobs. Whoever calls holds the lock of the ref."""

    def __init__(
        self,
        metadata: Metadata,
        spool: Spool,
        blobs: Blobs,
        catalog: Catalog,
        files: OpenFiles,
    ) -> None:
        self._metadata = metadata
        self._spool = spool
        self._blobs = blobs
        self._catalog = catalog
        self._files = files

    def name(self, namespace: str, ref: str) -> str:
        """`<namespace>/<sequence>/<ref>`, as messages name an ingest."""
        record = self._metadata.read(lambda view: find_ingest(view, namespace, ref))
        return f"{namespace}/{record.sequence if record else 1}/{ref}"

    async def begin(
        self,
        namespace: str,
        ref: str,
        action: Action,
        offset: int,
        total: int,
        expected: str,
    ) -> IngestRecord:
        """The ingest, new or taken up. Raises AlreadyExists."""
        announced = action != "commit"

        def look(view: View) -> tuple[IngestRecord | None, bool]:
            stored = find_ingest(view, namespace, ref)
            if stored is None:
                return None, False
            wanted = expected or stored.expected
            exists = bool(wanted) and has_sound_blob(view, namespace, wanted)
            return stored, not exists and self._catalog.is_settled(
                view,
                stored,
                total if announced else 0,
                expected if announced else "",
            )

        stored, settled = self._metadata.read(look)
        if stored is not None and settled:
            return stored
        record = await self._metadata.update(
            lambda txn: self._catalog.begin(
                txn,
                namespace,
                ref,
                total=total,
                expected=expected,
                offset=offset,
                announced=announced,
            )
        )
        if record is None:
            if stored is None:
                raise already_exists(expected)
            await self.remove(stored)
            wanted = expected or stored.expected
            raise AlreadyExists(f"blob with expected digest {wanted} exists")
        other = stored is not None and stored.total not in (0, record.total)
        if stored is not None and not record.shared and action == "stat" and other:
            await self._begin_anew(record)
        return record

    def _has(self, namespace: str, digest: str) -> bool:
        return bool(digest) and self._metadata.read(
            lambda view: has_sound_blob(view, namespace, digest)
        )

    async def refuse_existing(self, namespace: str, ref: str, digest: str) -> None:
        """Raises AlreadyExists when the namespace has the blob, which is then held."""
        if self._has(namespace, digest):
            await self.begin(namespace, ref, "write", 0, 0, digest)

    @asynccontextmanager
    async def opened(self, record: IngestRecord) -> AsyncGenerator[OpenFile]:
        """Its file, to be written by the store; it is kept open for the next call."""
        file = await self._files.get(
            record.file, record.ref, algorithm_of(record.expected)
        )
        try:
            yield file
        finally:
            self._files.rest(record.file)

    async def append(self, file: OpenFile, offset: int, data: bytes) -> None:
        """Add data at the end, or at 0 in place of all there is. Raises OutOfRange."""
        if offset not in (0, file.offset):
            raise wrong_offset(offset, file.offset)
        truncate = offset == 0 and file.offset > 0

        def work() -> None:
            if truncate:
                file.truncate()
            if data:
                file.append(data)

        if truncate or data:
            await trio.to_thread.run_sync(work)

    async def _begin_anew(self, record: IngestRecord) -> None:
        """An ingest that is resumed with another total has other bytes."""
        if record.descriptor:
            await self.prove_closed(record)
        file = await self._files.get(
            record.file, record.ref, algorithm_of(record.expected)
        )
        await trio.to_thread.run_sync(file.truncate)

    async def unshare(
        self, namespace: str, record: IngestRecord, offset: int
    ) -> IngestRecord:
        """Give a shared ingest a file of its own, with the blob's bytes unless they
        are thrown away at once."""
        if offset not in (0, record.size):
            raise wrong_offset(offset, record.size)
        if offset:
            await self._blobs.copy(record.expected, record.size, record.file)
        return await self._metadata.update(
            lambda txn: self._catalog.unshare(txn, namespace, record.ref)
        )

    async def remove(self, record: IngestRecord) -> None:
        """Remove its file; the record is gone already."""
        self._files.forget(record.file)
        if not record.shared:
            await trio.to_thread.run_sync(self._spool.remove_ingest, record.file)

    # --- descriptors

    async def give_away(
        self, namespace: str, ref: str, total: int, expected: str
    ) -> tuple[IngestRecord, int]:
        """The ingest, new or taken up, with a descriptor. Raises AlreadyExists."""
        record = await self._metadata.update(
            lambda txn: self._catalog.begin(
                txn, namespace, ref, total=total, expected=expected, descriptor=True
            )
        )
        if record is None:
            raise already_exists(expected)
        self._files.forget(record.file)
        return record, await trio.to_thread.run_sync(self._descriptor, record)

    def _descriptor(self, record: IngestRecord) -> int:
        """A writable descriptor at the end of the file, once it is known that the
        file system can tell when it is closed."""
        fd = self._spool.open_ingest(record.file)
        try:
            if os.fstat(fd).st_size == 0:
                self._spool.check_leases(fd, record.ref)
                fd = self._spool.open_ingest(record.file)
            os.lseek(fd, 0, os.SEEK_END)
        except BaseException:
            os.close(fd)
            raise
        return fd

    async def prove_closed(self, record: IngestRecord) -> None:
        """Raises FailedPrecondition while somebody has the file open for writing."""
        self._files.forget(record.file)

        def prove() -> None:
            with without_writers(self._spool.ingest_path(record.file), record.ref):
                pass

        await trio.to_thread.run_sync(prove)

    async def append_closed(
        self, record: IngestRecord, offset: int, data: bytes
    ) -> None:
        """As `append`, to a file that somebody else may have open.

        Raises FailedPrecondition when somebody has.
        """
        await self.prove_closed(record)
        file = await self._files.get(record.file, record.ref, "sha256")
        try:
            await self.append(file, offset, data)
        finally:
            self._files.forget(record.file)

    # --- what there is to say

    def status(self, record: IngestRecord) -> Status:
        """How far it is, by its file where it has one."""
        size, written_at = record.size, 0
        if not record.shared:
            size, written_at = self._spool.ingest_state(record.file)
        return Status(
            ref=record.ref,
            offset=size,
            total=record.total or (size if record.shared else 0),
            expected=record.expected,
            started_at=record.started_at,
            updated_at=max(record.updated_at, written_at),
        )

    def result(
        self, record: IngestRecord, action: Action, file: OpenFile | None = None
    ) -> WriteResult:
        """What a write answers. The digest so far is known for the store's own files."""
        status = self.status(record)
        return WriteResult(
            action=action,
            started_at=status.started_at,
            updated_at=status.updated_at,
            offset=file.offset if file else status.offset,
            total=status.total,
            digest=file.digest if file else "",
        )
