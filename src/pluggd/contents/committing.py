# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""From an ingest, or from bytes in one piece, to a blob.

Size and digest are checked, the bytes are made durable, and only then the placer
puts them where blobs are and records it. A sync that failed is final.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import trio
import trio.from_thread

from pluggd.contents.catalog import find_ingest
from pluggd.contents.files import SyncFailed, failing_as, hash_descriptor
from pluggd.contents.ingests import Ingests
from pluggd.contents.openfiles import OpenFile, OpenFiles
from pluggd.contents.placing import Placer
from pluggd.contents.records import IngestRecord
from pluggd.contents.rules import (
    INLINE_HASH,
    Wanted,
    algorithm_of,
    check_result,
    check_size,
    digest_of,
)
from pluggd.contents.spool import Spool
from pluggd.contents.writers import without_writers
from pluggd.contents.young import Young
from pluggd.errors import AlreadyExists, NotFound
from pluggd.services.call import lease
from pluggd.services.content import Info
from pluggd.services.metadata import LEASE, Metadata, Node
from pluggd.struct import Struct


class Sealed(Struct, frozen=True):
    """Bytes that are checked. data: they themselves, of a small blob; those of others
    are durable in the file of the ingest."""

    digest: str
    size: int
    data: bytes | None = None


class Committer:
    """Makes blobs. Whoever calls holds the lock of the ref."""

    def __init__(
        self,
        metadata: Metadata,
        spool: Spool,
        ingests: Ingests,
        placer: Placer,
        files: OpenFiles,
        *,
        max_inline: int,
    ) -> None:
        """max_inline: bytes of a blob that has no file, at most."""
        self._metadata = metadata
        self._spool = spool
        self._ingests = ingests
        self._placer = placer
        self._files = files
        self._max_inline = max_inline

    async def commit_whole(
        self,
        namespace: str,
        ref: str,
        data: bytes,
        wanted: Wanted,
    ) -> Info | None:
        """Commit a blob that is here in one piece, without an ingest on the way.

        None when it cannot be done so: there is an ingest, or the size or the digest
        is not as expected, and then what was sent is to be kept.
        """
        stored = self._metadata.read(lambda view: find_ingest(view, namespace, ref))
        if stored is not None or wanted.total not in (0, len(data)):
            return None
        algorithm = algorithm_of(wanted.expected)
        if len(data) <= INLINE_HASH:
            digest = digest_of(algorithm, data)
        else:
            digest = await trio.to_thread.run_sync(digest_of, algorithm, data)
        if wanted.expected not in ("", digest):
            return None
        await self._ingests.refuse_existing(namespace, ref, digest)
        self._check_lease(namespace)
        return await self._placer.place_data(
            namespace, ref, data, digest, wanted.labels
        )

    def _check_lease(self, namespace: str) -> None:
        """Find out before the work what `hold` would say after it."""
        name = lease()
        node = Node(LEASE, namespace, name)
        if name and not self._metadata.read(lambda view: view.has_node(node)):
            raise NotFound("lease does not exist: not found")

    async def commit_young(self, namespace: str, young: Young, wanted: Wanted) -> Info:
        """Commit an ingest that is in memory."""
        check_size(young.record(), len(young.data), wanted.total)
        expected = wanted.expected or young.expected
        digest = digest_of(algorithm_of(expected), young.data)
        check_result(digest, expected)
        return await self._placer.place_data(
            namespace, young.ref, young.data, digest, wanted.labels
        )

    async def commit_shared(
        self,
        namespace: str,
        record: IngestRecord,
        wanted: Wanted,
    ) -> Info:
        """Commit an ingest for which another namespace's blob stands."""
        check_size(record, record.size, wanted.total)
        check_result(record.expected, wanted.expected)
        return await self._placer.place_shared(
            namespace, record.ref, record.size, record.expected, wanted.labels
        )

    async def commit_file(
        self,
        namespace: str,
        record: IngestRecord,
        file: OpenFile,
        wanted: Wanted,
    ) -> Info:
        """Commit an ingest that the store wrote itself."""
        check_size(record, file.offset, wanted.total)
        expected = wanted.expected or record.expected
        algorithm = algorithm_of(expected)

        def seal() -> Sealed:
            small = self._take_small(record, file.fd, file.offset, algorithm)
            if small is not None:
                check_result(small.digest, expected)
                return small
            digest = file.digest
            if algorithm != file.algorithm:
                digest = self._hash(record, file.fd, algorithm)
            check_result(digest, expected)
            self._spool.sync_ingest(file.fd, record.file)
            return Sealed(digest, file.offset)

        return await self._seal_and_place(namespace, record, seal, wanted.labels)

    async def commit_descriptor(
        self,
        namespace: str,
        record: IngestRecord,
        wanted: Wanted,
    ) -> Info:
        """Commit an ingest that somebody else wrote through a descriptor."""
        expected = wanted.expected or record.expected
        algorithm = algorithm_of(expected)

        def seal() -> Sealed:
            path = self._spool.ingest_path(record.file)
            with without_writers(path, record.ref) as fd:
                size = os.fstat(fd).st_size
                check_size(record, size, wanted.total)
                small = self._take_small(record, fd, size, algorithm)
                if small is not None:
                    check_result(small.digest, expected)
                    return small
                digest = self._hash(record, fd, algorithm)
                check_result(digest, expected)
                self._spool.sync_ingest(fd, record.file)
                return Sealed(digest, size)

        return await self._seal_and_place(namespace, record, seal, wanted.labels)

    async def _seal_and_place(
        self,
        namespace: str,
        record: IngestRecord,
        seal: Callable[[], Sealed],
        labels: dict[str, str],
    ) -> Info:
        """seal: check the bytes, and make them durable or take them."""
        try:
            sealed = await trio.to_thread.run_sync(seal)
        except SyncFailed:
            self._files.forget(record.file)
            raise
        # From here on the descriptor must not be used: the file becomes a blob.
        self._files.forget(record.file)
        digest, data = sealed.digest, sealed.data
        if data is None:
            return await self._placer.place_file(
                namespace, record.ref, record.file, sealed.size, digest, labels
            )
        info: Info | None = None
        with trio.CancelScope(shield=True):
            try:
                info = await self._placer.place_data(
                    namespace, record.ref, data, digest, labels
                )
            except AlreadyExists:
                await self._ingests.remove(record)
                raise
            await self._ingests.remove(record)
        assert info is not None
        return info

    def _take_small(
        self, record: IngestRecord, fd: int, size: int, algorithm: str
    ) -> Sealed | None:
        """The bytes of a file that is to become a blob without one; None if it is not."""
        if size > self._max_inline:
            return None
        with failing_as(f"read {self._spool.ingest_path(record.file)}"):
            data = os.pread(fd, size, 0)
        return Sealed(digest_of(algorithm, data), len(data), data)

    def _hash(self, record: IngestRecord, fd: int, algorithm: str) -> str:
        with failing_as(f"read {self._spool.ingest_path(record.file)}"):
            return hash_descriptor(fd, algorithm, trio.from_thread.check_cancelled)
