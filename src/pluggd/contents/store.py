# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The content service: each method finds its namespace and hands over to its half."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import CoroutineType
from typing import Any, Literal

from pluggd.contents.catalog import Catalog, find_blob, not_found
from pluggd.contents.reading import Reader
from pluggd.contents.records import BLOBS
from pluggd.contents.rules import validate_info_digest
from pluggd.contents.writing import Writer
from pluggd.model.digests import validate_digest
from pluggd.model.fieldmask import check_fields, masked_map
from pluggd.model.filters import Adaptor, label_value
from pluggd.model.labels import validate_labels, without_empty
from pluggd.model.record import Encoded, decode, replace
from pluggd.objects.pages import listed
from pluggd.objects.records import collect_now, sync_policy
from pluggd.plugin import Deferred, Unfinished, deferred, inline, inline_encoded
from pluggd.services.call import namespace
from pluggd.services.content import (
    Chunk,
    Info,
    InfoList,
    OpenedBlob,
    OpenedIngest,
    Status,
    StatusList,
    WriteResult,
)
from pluggd.services.gc import Gc
from pluggd.services.metadata import Metadata, Transaction
from pluggd.services.rpc import Receive, Send


class ContentStore:
    """See `pluggd.services.content.Content` for what the methods promise."""

    def __init__(
        self,
        metadata: Metadata,
        catalog: Catalog,
        reader: Reader,
        writer: Writer,
        find_gc: Callable[[], Gc | None],
    ) -> None:
        self._metadata = metadata
        self._catalog = catalog
        self._reader = reader
        self._writer = writer
        self._find_gc = find_gc

    # --- what there is

    @inline_encoded
    def info(self, *, digest: str) -> Encoded[Info]:
        validate_info_digest(digest)
        here = namespace()
        data = self._metadata.read(lambda view: view.get(BLOBS, here, digest))
        if data is None:
            raise not_found(digest)
        return Encoded(data, Info)

    @inline_encoded
    def list(
        self, *, filters: Sequence[str] = (), limit: int = 0, after: str = ""
    ) -> Encoded[InfoList] | Unfinished[InfoList]:
        here = namespace()
        return listed(
            self._metadata,
            BLOBS,
            here,
            InfoList,
            "infos",
            stored_fields,
            filters=filters,
            limit=limit,
            after=after,
        )

    async def update(self, *, info: Info, fields: Sequence[str] = ()) -> Info:
        here = namespace()
        validate_info_digest(info.digest)
        check_fields(fields, maps=("labels",), what=f'content info "{info.digest}"')
        validate_labels(info.labels, "content.Labels")

        def change(txn: Transaction) -> Info:
            stored = find_blob(txn, here, info.digest)
            if stored is None:
                raise not_found(info.digest)
            labels = (
                masked_map(stored.labels, info.labels, fields, "labels")
                if fields
                else without_empty(info.labels)
            )
            changed = replace(stored, labels=labels, updated_at=txn.now)
            self._catalog.put_blob(txn, here, changed)
            return changed

        return await self._metadata.update(change)

    async def delete(self, *, digest: str, sync: bool = False) -> None:
        here = namespace()
        validate_digest(digest)
        gc = sync_policy(sync, self._find_gc, f"content {digest}")
        await self._metadata.update(
            lambda txn: self._catalog.delete(txn, here, digest), reclaim=True
        )
        if gc is not None:
            await collect_now(gc)

    # --- bytes out

    async def read(
        self, *, digest: str, offset: int = 0, size: int = 0, verify: bool = False
    ) -> Chunk:
        return await self._reader.read(
            namespace(), digest=digest, offset=offset, size=size, verify=verify
        )

    async def fetch(
        self, *, digest: str, offset: int = 0, size: int = 0, out: Send[bytes]
    ) -> None:
        await self._reader.fetch(
            namespace(), digest=digest, offset=offset, size=size, out=out
        )

    async def open(self, *, digest: str, verify: bool = False) -> OpenedBlob:
        return await self._reader.open(namespace(), digest=digest, verify=verify)

    async def verify(self, *, digest: str) -> Info:
        return await self._reader.verify(namespace(), digest=digest)

    # --- bytes in

    @deferred
    def write(
        self,
        *,
        ref: str,
        action: Literal["stat", "write", "commit"] = "write",
        offset: int = 0,
        data: bytes = b"",
        total: int = 0,
        expected: str = "",
        labels: Mapping[str, str] = {},
    ) -> Deferred[WriteResult] | CoroutineType[Any, Any, WriteResult]:
        return self._writer.write(
            namespace(),
            ref=ref,
            action=action,
            offset=offset,
            data=data,
            total=total,
            expected=expected,
            labels=labels,
        )

    async def ingest(
        self,
        *,
        ref: str,
        total: int = 0,
        expected: str = "",
        labels: Mapping[str, str] = {},
        source: Receive[bytes],
    ) -> Info:
        return await self._writer.ingest(
            namespace(),
            ref=ref,
            total=total,
            expected=expected,
            labels=labels,
            source=source,
        )

    async def ingest_open(
        self, *, ref: str, total: int = 0, expected: str = ""
    ) -> OpenedIngest:
        return await self._writer.open_ingest(
            namespace(), ref=ref, total=total, expected=expected
        )

    @inline
    def status(self, *, ref: str) -> Status:
        return self._writer.status(namespace(), ref)

    async def list_statuses(self, *, filters: Sequence[str] = ()) -> StatusList:
        return await self._writer.list_statuses(namespace(), filters)

    async def abort(self, *, ref: str) -> None:
        await self._writer.abort(namespace(), ref)


def stored_fields(data: bytes) -> Adaptor:
    """What filters can ask of a stored blob."""
    info = decode(data, Info)

    def field(path: tuple[str, ...]) -> str | None:
        match path:
            case ("digest",):
                return info.digest
            case ("size",):
                return str(info.size)
            case ("labels", *rest):
                return label_value(info.labels, rest)
            case _:
                return None

    return field
