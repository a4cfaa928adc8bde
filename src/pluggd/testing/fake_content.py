# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A content store in memory, for the tests of what uses one.

It keeps the promises of `pluggd.services.content` (the contract suite runs on it)
over any metadata store, and nothing else: blobs are bytes in a dict, ingests are
memory files, and both are lost with the process. It knows no other plugin.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import time
from collections.abc import (
    AsyncGenerator,
    Generator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager
from typing import Literal

from pluggd.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    OutOfRange,
    Unavailable,
)
from pluggd.model.digests import split_digest, validate_digest
from pluggd.model.events import ContentCreate, ContentDelete
from pluggd.model.fieldmask import check_fields, masked_map
from pluggd.model.filters import Adaptor, label_value, parse_filters
from pluggd.model.labels import validate_labels, without_empty
from pluggd.model.record import decode, encode, replace
from pluggd.model.references import is_root, references
from pluggd.services.call import lease, namespace
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
from pluggd.services.metadata import (
    CONTENT,
    FOREVER,
    INGEST,
    NEVER,
    Edge,
    Metadata,
    Node,
    ResourceType,
    Transaction,
    View,
)
from pluggd.services.rpc import Fd, Receive, Send

TABLE = "content"
CHUNK = 1 << 20


@asynccontextmanager
async def fake_content(
    metadata: Metadata, *, gc: Gc | None = None
) -> AsyncGenerator[FakeContent]:
    """A fresh store; its memory is freed at the end of the block."""
    await metadata.open_table(TABLE)
    content = FakeContent(metadata, gc)
    metadata.register(ResourceType(CONTENT, "blobs", content.collect_blob))
    metadata.register(
        ResourceType(INGEST, "ingests", content.collect_ingest, blocks_namespace=False)
    )
    try:
        yield content
    finally:
        content.close()


class _Ingest:
    """One ingest. `adopted`: the blob that stands for its bytes, until it is written to."""

    def __init__(self, ref: str) -> None:
        self.ref = ref
        self.total = 0
        self.expected = ""
        self.adopted: bytes | None = None
        self.given_away = False
        self.started_at = self.updated_at = time.time_ns()
        writer = os.memfd_create("ingest")
        self._reader = os.open(f"/proc/self/fd/{writer}", os.O_RDONLY | os.O_CLOEXEC)
        os.close(writer)

    @property
    def data(self) -> bytes:
        if self.adopted is not None:
            return self.adopted
        return os.pread(self._reader, os.fstat(self._reader).st_size, 0)

    @property
    def size(self) -> int:
        return len(self.data)

    def open(self) -> int:
        fd = os.open(f"/proc/self/fd/{self._reader}", os.O_RDWR | os.O_CLOEXEC)
        os.lseek(fd, 0, os.SEEK_END)
        return fd

    def store(self, offset: int, data: bytes) -> None:
        old = self.data if offset else b""
        self.adopted = None
        self.updated_at = time.time_ns()
        fd = self.open()
        try:
            os.ftruncate(fd, 0)
            os.pwrite(fd, old + data, 0)
        finally:
            os.close(fd)

    def prove_closed(self) -> None:
        fcntl.fcntl(self._reader, fcntl.F_SETSIG, signal.SIGURG)
        try:
            fcntl.fcntl(self._reader, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except BlockingIOError:
            raise FailedPrecondition(
                f'"{self.ref}" is still open for writing: failed precondition'
            ) from None
        fcntl.fcntl(self._reader, fcntl.F_SETLEASE, fcntl.F_UNLCK)

    def status(self) -> Status:
        return Status(
            ref=self.ref,
            offset=self.size,
            total=self.total or (self.size if self.adopted is not None else 0),
            expected=self.expected,
            started_at=self.started_at,
            updated_at=self.updated_at,
        )

    def close(self) -> None:
        os.close(self._reader)


class FakeContent:
    """See `pluggd.services.content.Content` for what the methods promise."""

    def __init__(self, metadata: Metadata, gc: Gc | None = None) -> None:
        self._metadata = metadata
        self._gc = gc
        self._bytes: dict[str, bytes] = {}
        self._ingests: dict[tuple[str, str], _Ingest] = {}
        self._locked: set[tuple[str, str]] = set()

    def close(self) -> None:
        for ingest in self._ingests.values():
            ingest.close()
        self._ingests.clear()

    # --- blobs

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
            await self._gc.run(wait=True)

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

    # --- ingests

    async def write(
        self,
        *,
        ref: str,
        action: Literal["stat", "write", "commit"] = "write",
        offset: int = 0,
        data: bytes = b"",
        total: int = 0,
        expected: str = "",
        labels: Mapping[str, str] = {},
    ) -> WriteResult:
        if offset < 0:
            raise InvalidArgument(f"offset {offset} must not be negative")
        validate_labels(labels, "content.Labels")
        with self._lock(ref, total, expected) as key:
            commit = action == "commit"
            ingest = await self._begin(
                key, total, expected, commit=commit, offset=offset
            )
            if action == "stat" and total and ingest.total != total:
                ingest.store(0, b"")
                ingest.total = total
            adopt = commit and not data and ingest.adopted is not None
            as_is = commit and not data and ingest.given_away
            if action != "stat" and not (offset == 0 and (adopt or as_is)):
                if offset not in (0, ingest.size):
                    raise OutOfRange(
                        f"write @{offset} must occur at current offset {ingest.size}"
                    )
                if ingest.given_away:
                    ingest.prove_closed()
                if data or offset == 0:
                    ingest.store(offset, data)
            ingest.total = ingest.total if commit else total or ingest.total
            if commit:
                info = await self._commit(key, ingest, total, expected, labels)
                return WriteResult(
                    action=action,
                    started_at=ingest.started_at,
                    updated_at=info.updated_at,
                    offset=info.size,
                    total=info.size,
                    digest=info.digest,
                )
            status = ingest.status()
            return WriteResult(
                action=action,
                started_at=status.started_at,
                updated_at=status.updated_at,
                offset=status.offset,
                total=status.total,
                digest=_digest(ingest.expected, ingest.data),
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
        validate_labels(labels, "content.Labels")
        with self._lock(ref, total, expected) as key:
            ingest = await self._begin(key, total, expected)
            ingest.total = total
            if ingest.adopted is None:
                ingest.store(0, b"")
                async for item in source:
                    ingest.store(ingest.size, item)
            return await self._commit(key, ingest, total, expected, labels)

    async def ingest_open(
        self, *, ref: str, total: int = 0, expected: str = ""
    ) -> OpenedIngest:
        with self._lock(ref, total, expected) as key:
            ingest = await self._begin(key, total, expected)
            if ingest.adopted is not None:
                ingest.store(0, b"")
            ingest.total = total or ingest.total
            ingest.given_away = True
            return OpenedIngest(status=ingest.status(), fd=Fd(ingest.open()))

    async def status(self, *, ref: str) -> Status:
        ingest = self._ingests.get((namespace(), ref))
        if ingest is None:
            raise NotFound(
                f'could not get status for ref "{ref}": reference {ref}: not found'
            )
        return ingest.status()

    async def list_statuses(self, *, filters: Sequence[str] = ()) -> StatusList:
        here = namespace()
        wanted = parse_filters(filters)
        found = [
            self._ingests[key].status()
            for key in sorted(self._ingests)
            if key[0] == here and wanted.match(_fields({("ref",): key[1]}))
        ]
        return StatusList(statuses=found)

    async def abort(self, *, ref: str) -> None:
        with self._lock(ref, 0, "") as key:
            if key not in self._ingests:
                raise NotFound(f"reference {ref}: not found")
            await self._metadata.update(lambda txn: self._drop(txn, key), reclaim=True)

    # --- collection

    def collect_blob(self, txn: Transaction, node: Node) -> None:
        txn.delete(TABLE, node.namespace, node.name)
        event = ContentDelete(digest=node.name)
        txn.emit(node.namespace, event.TOPIC, event.TYPE, event)

    def collect_ingest(self, txn: Transaction, node: Node) -> None:
        ingest = self._ingests.pop((node.namespace, node.name), None)
        if ingest is not None:
            ingest.close()

    # --- inside

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

    @contextmanager
    def _lock(self, ref: str, total: int, expected: str) -> Generator[tuple[str, str]]:
        key = (namespace(), ref)
        if not ref:
            raise InvalidArgument("first message must have a reference")
        if total < 0:
            raise InvalidArgument(f"total {total} must not be negative")
        if expected:
            validate_digest(expected)
        if key in self._locked:
            raise Unavailable(f"ref {key[0]}/1/{ref} locked for 0s: unavailable")
        self._locked.add(key)
        try:
            yield key
        finally:
            self._locked.discard(key)

    async def _begin(
        self,
        key: tuple[str, str],
        total: int,
        expected: str,
        *,
        commit: bool = False,
        offset: int = 0,
    ) -> _Ingest:
        here, ref = key
        stored = self._ingests.get(key)
        wanted = expected or (stored.expected if stored else "")

        def begin(txn: Transaction) -> AlreadyExists | _Ingest:
            if wanted and txn.get(TABLE, here, wanted) is not None:
                if stored is not None:
                    self._drop(txn, key)
                txn.hold(Node(CONTENT, here, wanted))
                if stored is None:
                    return AlreadyExists(f"content {wanted}: already exists")
                return AlreadyExists(f"blob with expected digest {wanted} exists")
            ingest = stored or _Ingest(ref)
            try:
                if stored is None:
                    ingest.total = total
                    ingest.expected = expected
                    if total in (0, len(self._owned(txn, expected) or b"")):
                        ingest.adopted = self._owned(txn, expected)
                    if commit and ingest.adopted is None:
                        ingest.total, ingest.expected = 0, ""
                    if offset and ingest.adopted is None:
                        raise OutOfRange(
                            f"write @{offset} must occur at current offset 0"
                        )
                elif expected and not commit and expected != stored.expected:
                    ingest.expected = expected
                    if ingest.adopted is not None:
                        ingest.store(0, b"")
                node = Node(INGEST, here, ref)
                until = NEVER if lease() else txn.now + 86_400_000_000_000
                txn.set_node(node, root_until=until)
                txn.hold(node)
            except BaseException:
                if stored is None:
                    ingest.close()
                raise
            return ingest

        result = await self._metadata.update(begin)
        if isinstance(result, AlreadyExists):
            raise result
        self._ingests[key] = result
        return result

    def _owned(self, txn: View, digest: str) -> bytes | None:
        """The bytes of a blob that some namespace has."""
        if not any(
            txn.get(TABLE, name, digest) is not None
            for name in txn.scan_namespaces(TABLE)
        ):
            return None
        return self._bytes.get(digest)

    async def _commit(
        self,
        key: tuple[str, str],
        ingest: _Ingest,
        total: int,
        expected: str,
        labels: Mapping[str, str],
    ) -> Info:
        here, ref = key
        if ingest.given_away:
            ingest.prove_closed()
        data = ingest.data
        announced = total or ingest.total
        if announced not in (0, len(data)):
            raise FailedPrecondition(
                f'"{ref}" failed size validation: {len(data)} != {announced}: '
                f"failed precondition"
            )
        wanted = expected or ingest.expected
        digest = _digest(wanted, data)
        if wanted not in ("", digest):
            raise FailedPrecondition(
                f"unexpected commit digest {digest}, expected {wanted}: "
                f"failed precondition"
            )
        node = Node(CONTENT, here, digest)

        def record(txn: Transaction) -> Info | None:
            self._drop(txn, key)
            info = None
            if txn.get(TABLE, here, digest) is None:
                info = Info(
                    digest=digest,
                    size=len(data),
                    created_at=txn.now,
                    updated_at=txn.now,
                    labels=without_empty(labels),
                )
                self._put(txn, here, info)
                event = ContentCreate(digest=digest, size=len(data))
                txn.emit(here, event.TOPIC, event.TYPE, event)
            txn.hold(node)
            return info

        self._bytes[digest] = data
        info = await self._metadata.update(record)
        if info is None:
            raise AlreadyExists(f"content {digest}: already exists")
        return info

    def _drop(self, txn: Transaction, key: tuple[str, str]) -> None:
        node = Node(INGEST, *key)
        txn.release(node)
        txn.drop_node(node)
        self.collect_ingest(txn, node)


def _fields(values: dict[tuple[str, ...], str]) -> Adaptor:
    return lambda path: values.get(path)


def _adaptor(info: Info) -> Adaptor:
    plain = _fields({("digest",): info.digest, ("size",): str(info.size)})

    def field(path: tuple[str, ...]) -> str | None:
        labels = path[0] == "labels"
        return label_value(info.labels, path[1:]) if labels else plain(path)

    return field


def _digest(expected: str, data: bytes) -> str:
    algorithm = split_digest(expected)[0] if expected else "sha256"
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"
