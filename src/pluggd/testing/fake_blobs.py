# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The half of the fake content store that is about blobs: look, read, delete.

Blobs are bytes in a dict, their records are in the metadata store. How they get
here is `fake_content`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from pluggd.errors import FailedPrecondition, InvalidArgument, NotFound, OutOfRange
from pluggd.model.digests import validate_digest
from pluggd.model.events import ContentDelete
from pluggd.model.fieldmask import check_fields, masked_map
from pluggd.model.filters import Adaptor, label_value, parse_filters
from pluggd.model.labels import validate_labels
from pluggd.model.record import decode, encode, replace
from pluggd.model.references import is_root, references
from pluggd.objects.records import collect_now
from pluggd.services.call import namespace
from pluggd.services.content import Chunk, Info, InfoList, OpenedBlob
from pluggd.services.gc import Gc
from pluggd.services.metadata import (
    CONTENT,
    FOREVER,
    NEVER,
    Edge,
    Metadata,
    Node,
    Transaction,
    View,
)
from pluggd.services.rpc import Fd, Send

TABLE = "content"
CHUNK = 1 << 20


class FakeBlobs:
    """See `pluggd.services.content.Content` for what the methods promise."""

    def __init__(self, metadata: Metadata, gc: Gc | None) -> None:
        self._metadata = metadata
        self._gc = gc
        self._bytes: dict[str, bytes] = {}

    async def info(self, *, digest: str) -> Info:
        return self._find(digest)

    async def update(self, *, info: Info, fields: Sequence[str] = ()) -> Info:
        here = namespace()
        validate_digest(info.digest)
        check_fields(fields, maps=("labels",), what=f'content info "{info.digest}"')
        validate_labels(info.labels, "content.Labels")

        def change(txn: Transaction) -> Info:
            stored = self._find(info.digest)
            wanted = fields or ["labels"]
            labels = masked_map(stored.labels, info.labels, wanted, "labels")
            changed = replace(stored, labels=labels, updated_at=txn.now)
            self._put(txn, here, changed)
            return changed

        return await self._metadata.update(change)

    async def list(
        self, *, filters: Sequence[str] = (), limit: int = 0, after: str = ""
    ) -> InfoList:
        here = namespace()
        wanted = parse_filters(filters)
        if limit < 0:
            raise InvalidArgument(f"limit {limit} must not be negative")

        def collect(view: View) -> list[Info]:
            found = [
                decode(data, Info) for _, data in view.scan(TABLE, here, after=after)
            ]
            return [info for info in found if wanted.match(_adaptor(info))]

        infos = await self._metadata.view(collect)
        page = infos[:limit] if limit else infos
        more = len(page) < len(infos)
        return InfoList(infos=page, next=page[-1].digest if more else "")

    async def delete(self, *, digest: str, sync: bool = False) -> None:
        here = namespace()
        validate_digest(digest)
        if sync and self._gc is None:
            raise FailedPrecondition("delete with sync needs a pluggd.gc.v1")
        node = Node(CONTENT, here, digest)

        def remove(txn: Transaction) -> None:
            self._find(digest)
            self.collect_blob(txn, node)
            txn.release(node)
            txn.drop_node(node)

        await self._metadata.update(remove, reclaim=True)
        if sync and self._gc is not None:
            await collect_now(self._gc)

    async def read(
        self, *, digest: str, offset: int = 0, size: int = 0, verify: bool = False
    ) -> Chunk:
        info = self._find(digest)
        if offset < 0 or size < 0:
            raise InvalidArgument(
                f"offset {offset} or size {size} must not be negative"
            )
        if offset > info.size:
            raise OutOfRange(f"read past object length {info.size} bytes")
        end = offset + min(size or CHUNK, CHUNK)
        return Chunk(offset=offset, data=self._bytes[digest][offset:end])

    async def fetch(
        self, *, digest: str, offset: int = 0, size: int = 0, out: Send[bytes]
    ) -> None:
        end = offset + size if size else self._find(digest).size
        while True:
            left = min(CHUNK, end - offset)
            chunk = await self.read(digest=digest, offset=offset, size=left)
            if not left or not chunk.data:
                return
            await out.send(chunk.data)
            offset += len(chunk.data)

    async def open(self, *, digest: str, verify: bool = False) -> OpenedBlob:
        info = self._find(digest)
        writer = os.memfd_create("blob")
        try:
            os.pwrite(writer, self._bytes[digest], 0)
            fd = os.open(f"/proc/self/fd/{writer}", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            os.close(writer)
        return OpenedBlob(info=info, fd=Fd(fd))

    async def verify(self, *, digest: str) -> Info:
        return self._find(digest)

    def collect_blob(self, txn: Transaction, node: Node) -> None:
        txn.delete(TABLE, node.namespace, node.name)
        event = ContentDelete(digest=node.name)
        txn.emit(node.namespace, event.TOPIC, event.TYPE, event)

    def _find(self, digest: str) -> Info:
        here = namespace()
        validate_digest(digest)
        data = self._metadata.read(lambda view: view.get(TABLE, here, digest))
        if data is None:
            raise NotFound(f"content digest {digest}: not found")
        return decode(data, Info)

    def _put(self, txn: Transaction, here: str, info: Info) -> None:
        txn.put(TABLE, here, info.digest, encode(info))
        edges = [
            Edge(Node(one.type, here, one.key), back=one.back)
            for one in references(info.labels)
        ]
        until = FOREVER if is_root(info.labels) else NEVER
        txn.set_node(Node(CONTENT, here, info.digest), edges, root_until=until)


def _adaptor(info: Info) -> Adaptor:
    plain = fields({("digest",): info.digest, ("size",): str(info.size)})

    def field(path: tuple[str, ...]) -> str | None:
        labels = path[0] == "labels"
        return label_value(info.labels, path[1:]) if labels else plain(path)

    return field


def fields(values: dict[tuple[str, ...], str]) -> Adaptor:
    """What filters see of a thing with these fields."""
    return values.get
