# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The methods of the service that change bytes, in terms of ingests and commits.

Each holds the lock of its ref from beginning to end. How an ingest is kept is
`ingests`, while it is small `young`; how it becomes a blob is `committing`.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from types import CoroutineType
from typing import Any

import trio

from pluggd.contents.catalog import Catalog, find_ingest
from pluggd.contents.committing import Committer
from pluggd.contents.ingests import Ingests
from pluggd.contents.locks import RefLocks
from pluggd.contents.records import INGESTS, IngestRecord
from pluggd.contents.rules import (
    STREAM_PIECE,
    Action,
    Pieces,
    Wanted,
    Write,
    check_ingest,
    committed,
    shared_state,
    wrong_offset,
)
from pluggd.contents.settling import Settler
from pluggd.contents.small import SmallWriter
from pluggd.contents.young import Young, YoungIngests
from pluggd.deferred import Deferred
from pluggd.errors import AlreadyExists, InvalidArgument, NotFound
from pluggd.model.filters import parse_filters
from pluggd.model.labels import validate_labels
from pluggd.model.record import decode
from pluggd.services.content import (
    Info,
    OpenedIngest,
    Status,
    StatusList,
    WriteResult,
)
from pluggd.services.metadata import Metadata, View
from pluggd.services.rpc import Fd, Receive


class Writer:
    """The half of the store that changes bytes."""

    def __init__(
        self,
        metadata: Metadata,
        catalog: Catalog,
        ingests: Ingests,
        committer: Committer,
        young: YoungIngests,
        settler: Settler,
        locks: RefLocks,
        small: SmallWriter,
    ) -> None:
        self._metadata = metadata
        self._catalog = catalog
        self._ingests = ingests
        self._committer = committer
        self._young = young
        self._settler = settler
        self._locks = locks
        self._small = small

    def write(
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
    ) -> Deferred[WriteResult] | CoroutineType[Any, Any, WriteResult]:
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
        wanted = Wanted(total, expected, dict(labels))
        write = Write(namespace, ref, action, offset, data, wanted)
        small = self._small.write(write)
        if small is not None:
            return small
        # mypy has no name for what `async def` makes.
        return self._write(write)  # type: ignore[return-value]

    async def _write(self, write: Write) -> WriteResult:
        namespace, ref, wanted = write.namespace, write.ref, write.wanted
        action, offset, data = write.action, write.offset, write.data
        async with self._holding(namespace, ref):
            young = await self._settler.young_for(write)
            if young is not None:
                return await self._write_young(young, write)
            if action == "commit" and offset == 0:
                info = await self._committer.commit_whole(namespace, ref, data, wanted)
                if info is not None:
                    return committed(info)
            record = await self._ingests.begin(
                namespace, ref, action, offset, wanted.total, wanted.expected
            )
            if record.shared:
                if action == "stat":
                    return shared_state(record, action)
                if action == "commit" and not data and offset in (0, record.size):
                    info = await self._committer.commit_shared(
                        namespace, record, wanted
                    )
                    return committed(info, record.started_at)
                record = await self._ingests.unshare(namespace, record, offset)
            if record.descriptor:
                return await self._write_with_descriptor(record, write)
            async with self._ingests.opened(record) as file:
                if action != "stat":
                    await self._ingests.append(file, offset, data)
                if action == "commit":
                    info = await self._committer.commit_file(
                        namespace, record, file, wanted
                    )
                    return committed(info, record.started_at)
                return self._ingests.result(record, action, file)

    @asynccontextmanager
    async def _holding(self, namespace: str, ref: str) -> AsyncGenerator[None]:
        """The lock of the ref. Raises Unavailable when another call has it."""
        await self._settler.undisturbed(namespace, ref)
        name = self._ingests.name(namespace, ref)
        with self._locks.holding((namespace, ref), name):
            yield

    async def _write_young(self, young: Young, write: Write) -> WriteResult:
        namespace = write.namespace
        if write.action != "stat":
            young.append(write.offset, write.data)
        if write.action != "commit":
            return young.result(write.action)
        try:
            info = await self._committer.commit_young(namespace, young, write.wanted)
        except AlreadyExists:
            self._young.discard(namespace, young.ref)
            raise
        self._young.discard(namespace, young.ref)
        return committed(info, young.started_at)

    async def _write_with_descriptor(
        self, record: IngestRecord, write: Write
    ) -> WriteResult:
        """As for other ingests, except that a commit without data takes the file as
        it is, whatever was written before."""
        action, offset, data = write.action, write.offset, write.data
        size = self._ingests.status(record).offset
        if action != "stat" and offset not in (0, size):
            raise wrong_offset(offset, size)
        if action == "write" or data:
            await self._ingests.append_closed(record, offset, data)
        if action == "commit":
            info = await self._committer.commit_descriptor(
                write.namespace, record, write.wanted
            )
            return committed(info, record.started_at)
        return self._ingests.result(record, action)

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
        wanted = Wanted(total, expected, dict(labels))
        async with self._holding(namespace, ref):
            await self._settler.settle(namespace, ref)
            if expected:
                await self._ingests.refuse_existing(namespace, ref, expected)
            pieces = Pieces(source)
            first = await pieces.next()
            if len(first) < STREAM_PIECE:
                info = await self._committer.commit_whole(namespace, ref, first, wanted)
                if info is not None:
                    return info
            record = await self._ingests.begin(
                namespace, ref, "write", 0, total, expected
            )
            if record.shared:
                return await self._committer.commit_shared(namespace, record, wanted)
            if record.descriptor:
                await self._ingests.prove_closed(record)
            async with self._ingests.opened(record) as file:
                await self._ingests.append(file, 0, first)
                while piece := await pieces.next():
                    await trio.to_thread.run_sync(file.append, piece)
                return await self._committer.commit_file(
                    namespace, record, file, wanted
                )

    async def open_ingest(
        self, namespace: str, *, ref: str, total: int, expected: str
    ) -> OpenedIngest:
        check_ingest(ref, total, expected)
        async with self._holding(namespace, ref):
            await self._settler.settle(namespace, ref)
            record, fd = await self._ingests.give_away(namespace, ref, total, expected)
            return OpenedIngest(status=self._ingests.status(record), fd=Fd(fd))

    def status(self, namespace: str, ref: str) -> Status:
        young = self._young.get(namespace, ref)
        if young is not None:
            return young.status()
        record = self._metadata.read(lambda view: find_ingest(view, namespace, ref))
        if record is None:
            raise NotFound(
                f'could not get status for ref "{ref}": reference {ref}: not found'
            )
        return self._ingests.status(record)

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
            return [self._ingests.status(record) for record in records]

        young = [
            one.status()
            for one in self._young.of(namespace)
            if wanted.match(partial(ref_field, one.ref))
        ]
        # One that was settled meanwhile is in both, and by now an ordinary one.
        found = {status.ref: status for status in young}
        found |= {s.ref: s for s in await trio.to_thread.run_sync(look)}
        return StatusList(
            statuses=[found[ref] for ref in sorted(found, key=os.fsencode)]
        )

    async def abort(self, namespace: str, ref: str) -> None:
        async with self._holding(namespace, ref):
            if self._young.discard(namespace, ref) is not None:
                return
            record = await self._metadata.update(
                lambda txn: self._catalog.abort(txn, namespace, ref), reclaim=True
            )
            await self._ingests.remove(record)


def ref_field(ref: str, path: tuple[str, ...]) -> str | None:
    """What filters can ask of an ingest."""
    return ref if path == ("ref",) else None
