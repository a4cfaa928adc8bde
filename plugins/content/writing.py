# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Ingests: begin, continue, resume, commit, look at, throw away.

An ingest has one of three forms. Most have a file that the store writes to. A
shared one has none: another namespace's blob stands for it, and a commit only
records it. One with a descriptor has a file that somebody else writes to; how
much is in it the file tells, and nothing is done to it before a read lease has
proved that no writer is left.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import trio
import trio.from_thread

from pluggd.errors import AlreadyExists, InvalidArgument, NotFound
from pluggd.model.filters import parse_filters
from pluggd.model.labels import validate_labels
from pluggd.model.record import decode
from pluggd.services.call import lease
from pluggd.services.content import (
    Info,
    OpenedIngest,
    Status,
    StatusList,
    WriteResult,
)
from pluggd.services.metadata import LEASE, Metadata, Node, View
from pluggd.services.rpc import Fd, Receive
from plugins.content.catalog import Catalog, find_ingest, has_sound_blob
from plugins.content.disk import (
    Disk,
    SyncFailed,
    failing_as,
    hash_descriptor,
    without_writers,
)
from plugins.content.locks import RefLocks
from plugins.content.openfiles import OpenFile, OpenFiles
from plugins.content.placing import Placer, already_exists
from plugins.content.records import INGESTS, IngestRecord
from plugins.content.rules import (
    INLINE_HASH,
    STREAM_PIECE,
    Action,
    Pieces,
    algorithm_of,
    check_ingest,
    check_result,
    check_size,
    committed,
    digest_of,
    shared_state,
    wrong_offset,
)


class Writer:
    """The half of the store that changes bytes."""

    def __init__(
        self,
        metadata: Metadata,
        disk: Disk,
        catalog: Catalog,
        placer: Placer,
        locks: RefLocks,
        files: OpenFiles,
    ) -> None:
        self._metadata = metadata
        self._disk = disk
        self._catalog = catalog
        self._placer = placer
        self._locks = locks
        self._files = files

    # --- the methods of the service

    async def write(
        self,
        namespace: str,
        *,
        ref: str,
        action: Action,
        offset: int,
        data: bytes,
        total: int,
        expected: str,
        labels: Mapping[str, str],
    ) -> WriteResult:
        check_ingest(ref, total, expected)
        if offset < 0:
            raise InvalidArgument(
                f"offset {offset} must not be negative: invalid argument"
            )
        if action == "stat" and data:
            raise InvalidArgument(
                'action "stat" takes no data; use "write": invalid argument'
            )
        validate_labels(labels, "content.Labels")
        with self._locks.holding((namespace, ref), self._name(namespace, ref)):
            if action == "commit" and offset == 0:
                info = await self._commit_whole(
                    namespace, ref, data, total, expected, dict(labels)
                )
                if info is not None:
                    return committed(info)
            record = await self._begin(namespace, ref, action, offset, total, expected)
            if record.shared:
                if action == "stat":
                    return shared_state(record, action)
                if action == "commit" and not data and offset in (0, record.size):
                    return await self._commit_shared(
                        namespace, record, total, expected, dict(labels)
                    )
                record = await self._unshare(namespace, record, offset)
            if record.descriptor:
                return await self._write_with_descriptor(
                    namespace,
                    record,
                    action,
                    offset,
                    data,
                    total,
                    expected,
                    dict(labels),
                )
            file = await self._files.get(
                record.file, ref, algorithm_of(record.expected)
            )
            try:
                if action != "stat":
                    await self._append(file, offset, data)
                if action == "commit":
                    info = await self._commit_file(
                        namespace, record, file, total, expected, dict(labels)
                    )
                    return committed(info, record.started_at)
                return self._state(record, file, action)
            finally:
                self._files.rest(record.file)

    async def ingest(
        self,
        namespace: str,
        *,
        ref: str,
        total: int,
        expected: str,
        labels: Mapping[str, str],
        source: Receive[bytes],
    ) -> Info:
        check_ingest(ref, total, expected)
        validate_labels(labels, "content.Labels")
        with self._locks.holding((namespace, ref), self._name(namespace, ref)):
            if expected:
                await self._refuse_existing(namespace, ref, expected)
            pieces = Pieces(source)
            first = await pieces.next()
            if len(first) < STREAM_PIECE:
                info = await self._commit_whole(
                    namespace, ref, first, total, expected, dict(labels)
                )
                if info is not None:
                    return info
            record = await self._begin(namespace, ref, "write", 0, total, expected)
            if record.shared:
                return await self._record_shared(
                    namespace, record, total, expected, dict(labels)
                )
            if record.descriptor:
                await self._prove_closed(record)
            file = await self._files.get(
                record.file, ref, algorithm_of(record.expected)
            )
            try:
                await self._append(file, 0, first)
                while piece := await pieces.next():
                    await trio.to_thread.run_sync(file.append, piece)
                return await self._commit_file(
                    namespace, record, file, total, expected, dict(labels)
                )
            finally:
                self._files.rest(record.file)

    async def open_ingest(
        self, namespace: str, *, ref: str, total: int, expected: str
    ) -> OpenedIngest:
        check_ingest(ref, total, expected)
        with self._locks.holding((namespace, ref), self._name(namespace, ref)):
            record = await self._metadata.update(
                lambda txn: self._catalog.begin(
                    txn, namespace, ref, total=total, expected=expected, descriptor=True
                )
            )
            if record is None:
                raise already_exists(expected)
            self._files.forget(record.file)
            fd = await trio.to_thread.run_sync(self._give_away, record)
            return OpenedIngest(status=self._status(record), fd=Fd(fd))

    def status(self, namespace: str, ref: str) -> Status:
        record = self._metadata.read(lambda view: find_ingest(view, namespace, ref))
        if record is None:
            raise NotFound(
                f'could not get status for ref "{ref}": reference {ref}: not found'
            )
        return self._status(record)

    async def list_statuses(self, namespace: str, filters: Sequence[str]) -> StatusList:
        wanted = parse_filters(filters)

        def select(view: View) -> list[IngestRecord]:
            return [
                decode(data, IngestRecord)
                for ref, data in view.scan(INGESTS, namespace)
                if wanted.match(partial(ref_field, ref))
            ]

        records = await self._metadata.view(select)

        def look() -> list[Status]:
            return [self._status(record) for record in records]

        return StatusList(statuses=await trio.to_thread.run_sync(look))

    async def abort(self, namespace: str, ref: str) -> None:
        with self._locks.holding((namespace, ref), self._name(namespace, ref)):
            record = await self._metadata.update(
                lambda txn: self._catalog.abort(txn, namespace, ref), reclaim=True
            )
            await self._remove(record)

    # --- steps

    def _name(self, namespace: str, ref: str) -> str:
        """`<namespace>/<sequence>/<ref>`, as messages name an ingest."""
        record = self._metadata.read(lambda view: find_ingest(view, namespace, ref))
        return f"{namespace}/{record.sequence if record else 1}/{ref}"

    async def _begin(
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
            await self._remove(stored)
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

    async def _refuse_existing(self, namespace: str, ref: str, digest: str) -> None:
        """Raises AlreadyExists when the namespace has the blob, which is then held."""
        if self._has(namespace, digest):
            await self._begin(namespace, ref, "write", 0, 0, digest)

    async def _begin_anew(self, record: IngestRecord) -> None:
        """An ingest that is resumed with another total has other bytes."""
        if record.descriptor:
            await self._prove_closed(record)
        file = await self._files.get(
            record.file, record.ref, algorithm_of(record.expected)
        )
        await trio.to_thread.run_sync(file.truncate)

    async def _append(self, file: OpenFile, offset: int, data: bytes) -> None:
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

    async def _unshare(
        self, namespace: str, record: IngestRecord, offset: int
    ) -> IngestRecord:
        """Give a shared ingest a file of its own, with the blob's bytes unless they
        are thrown away at once."""
        if offset not in (0, record.size):
            raise wrong_offset(offset, record.size)
        if offset:
            await trio.to_thread.run_sync(
                self._disk.copy_blob, record.expected, record.file
            )
        return await self._metadata.update(
            lambda txn: self._catalog.unshare(txn, namespace, record.ref)
        )

    async def _remove(self, record: IngestRecord) -> None:
        self._files.forget(record.file)
        if not record.shared:
            await trio.to_thread.run_sync(self._disk.remove_ingest, record.file)

    # --- commit

    async def _commit_whole(
        self,
        namespace: str,
        ref: str,
        data: bytes,
        total: int,
        expected: str,
        labels: dict[str, str],
    ) -> Info | None:
        """Commit a blob that is here in one piece, without an ingest on the way.

        None when it cannot be done so: there is an ingest, or the size or the digest
        is not as expected, and then what was sent is to be kept.
        """
        stored = self._metadata.read(lambda view: find_ingest(view, namespace, ref))
        if stored is not None or total not in (0, len(data)):
            return None
        algorithm = algorithm_of(expected)
        if len(data) <= INLINE_HASH:
            digest = digest_of(algorithm, data)
        else:
            digest = await trio.to_thread.run_sync(digest_of, algorithm, data)
        if expected not in ("", digest):
            return None
        await self._refuse_existing(namespace, ref, digest)
        self._check_lease(namespace)
        return await self._placer.place_data(namespace, ref, data, digest, labels)

    def _check_lease(self, namespace: str) -> None:
        """Find out before the work what `hold` would say after it."""
        name = lease()
        node = Node(LEASE, namespace, name)
        if name and not self._metadata.read(lambda view: view.has_node(node)):
            raise NotFound("lease does not exist: not found")

    async def _commit_shared(
        self,
        namespace: str,
        record: IngestRecord,
        total: int,
        expected: str,
        labels: dict[str, str],
    ) -> WriteResult:
        info = await self._record_shared(namespace, record, total, expected, labels)
        return committed(info, record.started_at)

    async def _record_shared(
        self,
        namespace: str,
        record: IngestRecord,
        total: int,
        expected: str,
        labels: dict[str, str],
    ) -> Info:
        check_size(record, record.size, total)
        check_result(record.expected, expected)
        return await self._placer.place_shared(
            namespace, record.ref, record.size, record.expected, labels
        )

    async def _commit_file(
        self,
        namespace: str,
        record: IngestRecord,
        file: OpenFile,
        total: int,
        expected: str,
        labels: dict[str, str],
    ) -> Info:
        """Commit an ingest that the store wrote itself."""
        check_size(record, file.offset, total)
        wanted = expected or record.expected
        algorithm = algorithm_of(wanted)

        def seal() -> tuple[str, int]:
            digest = file.digest
            if algorithm != file.algorithm:
                digest = self._hash(record, file.fd, algorithm)
            check_result(digest, wanted)
            self._disk.sync_ingest(file.fd, record.file)
            return digest, file.offset

        return await self._seal_and_place(namespace, record, seal, labels)

    async def _commit_descriptor(
        self,
        namespace: str,
        record: IngestRecord,
        total: int,
        expected: str,
        labels: dict[str, str],
    ) -> Info:
        """Commit an ingest that somebody else wrote through a descriptor."""
        wanted = expected or record.expected

        def seal() -> tuple[str, int]:
            path = self._disk.ingest_path(record.file)
            with without_writers(path, record.ref) as fd:
                size = os.fstat(fd).st_size
                check_size(record, size, total)
                digest = self._hash(record, fd, algorithm_of(wanted))
                check_result(digest, wanted)
                self._disk.sync_ingest(fd, record.file)
                return digest, size

        return await self._seal_and_place(namespace, record, seal, labels)

    async def _seal_and_place(
        self,
        namespace: str,
        record: IngestRecord,
        seal: Callable[[], tuple[str, int]],
        labels: dict[str, str],
    ) -> Info:
        """seal: check the bytes, make them durable, return their digest and size."""
        try:
            digest, size = await trio.to_thread.run_sync(seal)
        except SyncFailed:
            self._files.forget(record.file)
            raise
        # From here on the descriptor must not be used: the file becomes a blob.
        self._files.forget(record.file)
        return await self._placer.place_file(
            namespace, record.ref, record.file, size, digest, labels
        )

    def _hash(self, record: IngestRecord, fd: int, algorithm: str) -> str:
        with failing_as(f"read {self._disk.ingest_path(record.file)}"):
            return hash_descriptor(fd, algorithm, trio.from_thread.check_cancelled)

    # --- descriptors

    def _give_away(self, record: IngestRecord) -> int:
        """A writable descriptor at the end of the file, once it is known that the
        file system can tell when it is closed."""
        fd = self._disk.open_ingest(record.file)
        try:
            if os.fstat(fd).st_size == 0:
                self._disk.check_leases(fd, record.ref)
                fd = self._disk.open_ingest(record.file)
            os.lseek(fd, 0, os.SEEK_END)
        except BaseException:
            os.close(fd)
            raise
        return fd

    async def _prove_closed(self, record: IngestRecord) -> None:
        """Raises FailedPrecondition while somebody has the file open for writing."""
        self._files.forget(record.file)

        def prove() -> None:
            with without_writers(self._disk.ingest_path(record.file), record.ref):
                pass

        await trio.to_thread.run_sync(prove)

    async def _write_with_descriptor(
        self,
        namespace: str,
        record: IngestRecord,
        action: Action,
        offset: int,
        data: bytes,
        total: int,
        expected: str,
        labels: dict[str, str],
    ) -> WriteResult:
        """As for other ingests, except that a commit without data takes the file as
        it is, whatever was written before."""
        size, _ = self._disk.ingest_state(record.file)
        if action != "stat" and offset not in (0, size):
            raise wrong_offset(offset, size)
        if action == "write" or data:
            await self._prove_closed(record)
            file = await self._files.get(record.file, record.ref, "sha256")
            try:
                await self._append(file, offset, data)
            finally:
                self._files.forget(record.file)
        if action == "commit":
            info = await self._commit_descriptor(
                namespace, record, total, expected, labels
            )
            return committed(info, record.started_at)
        status = self._status(record)
        return WriteResult(
            action=action,
            started_at=status.started_at,
            updated_at=status.updated_at,
            offset=status.offset,
            total=status.total,
        )

    # --- results

    def _status(self, record: IngestRecord) -> Status:
        size, written_at = record.size, 0
        if not record.shared:
            size, written_at = self._disk.ingest_state(record.file)
        return Status(
            ref=record.ref,
            offset=size,
            total=record.total or (size if record.shared else 0),
            expected=record.expected,
            started_at=record.started_at,
            updated_at=max(record.updated_at, written_at),
        )

    def _state(
        self, record: IngestRecord, file: OpenFile, action: Action
    ) -> WriteResult:
        status = self._status(record)
        return WriteResult(
            action=action,
            started_at=status.started_at,
            updated_at=status.updated_at,
            offset=file.offset,
            total=status.total,
            digest=file.digest,
        )


def ref_field(ref: str, path: tuple[str, ...]) -> str | None:
    """What filters can ask of an ingest."""
    return ref if path == ("ref",) else None
