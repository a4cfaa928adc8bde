# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A content store in memory, for the tests of what uses one.

It keeps the promises of `pluggd.services.content` (the contract suite runs on it)
over any metadata store, and nothing else: blobs are bytes in a dict (`fake_blobs`),
ingests are memory files (`fake_ingest`), and both are lost with the process.
"""

from __future__ import annotations

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
from pluggd.model.digests import validate_digest
from pluggd.model.events import ContentCreate
from pluggd.model.filters import parse_filters
from pluggd.model.labels import validate_labels, without_empty
from pluggd.services.call import lease, namespace
from pluggd.services.content import (
    Info,
    OpenedIngest,
    Status,
    StatusList,
    WriteResult,
)
from pluggd.services.gc import Gc
from pluggd.services.metadata import (
    CONTENT,
    INGEST,
    NEVER,
    Metadata,
    Node,
    ResourceType,
    Transaction,
    View,
)
from pluggd.services.rpc import Fd, Receive
from pluggd.testing.fake_blobs import TABLE, FakeBlobs, fields
from pluggd.testing.fake_ingest import FakeIngest, digest_of


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


class FakeContent(FakeBlobs):
    """See `pluggd.services.content.Content` for what the methods promise."""

    def __init__(self, metadata: Metadata, gc: Gc | None = None) -> None:
        super().__init__(metadata, gc)
        self._ingests: dict[tuple[str, str], FakeIngest] = {}
        self._locked: set[tuple[str, str]] = set()

    def close(self) -> None:
        for ingest in self._ingests.values():
            ingest.close()
        self._ingests.clear()

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
                digest=digest_of(ingest.expected, ingest.data),
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
            if key[0] == here and wanted.match(fields({("ref",): key[1]}))
        ]
        return StatusList(statuses=found)

    async def abort(self, *, ref: str) -> None:
        with self._lock(ref, 0, "") as key:
            if key not in self._ingests:
                raise NotFound(f"reference {ref}: not found")
            await self._metadata.update(lambda txn: self._drop(txn, key), reclaim=True)

    # --- collection

    def collect_ingest(self, txn: Transaction, node: Node) -> None:
        ingest = self._ingests.pop((node.namespace, node.name), None)
        if ingest is not None:
            ingest.close()

    # --- inside

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
    ) -> FakeIngest:
        here, ref = key
        stored = self._ingests.get(key)
        wanted = expected or (stored.expected if stored else "")

        def begin(txn: Transaction) -> AlreadyExists | FakeIngest:
            if wanted and txn.get(TABLE, here, wanted) is not None:
                if stored is not None:
                    self._drop(txn, key)
                txn.hold(Node(CONTENT, here, wanted))
                if stored is None:
                    return AlreadyExists(f"content {wanted}: already exists")
                return AlreadyExists(f"blob with expected digest {wanted} exists")
            ingest = stored or FakeIngest(ref)
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
        ingest: FakeIngest,
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
        digest = digest_of(wanted, data)
        if wanted not in ("", digest):
            raise FailedPrecondition(
                f"unexpected commit digest {digest}, expected {wanted}: "
                f"failed precondition"
            )
        node = Node(CONTENT, here, digest)

        def record(txn: Transaction) -> Info | None:
            self._drop(txn, key, collect=False)
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

    def _drop(
        self, txn: Transaction, key: tuple[str, str], *, collect: bool = True
    ) -> None:
        node = Node(INGEST, *key)
        txn.drop_node(node, collect=collect)
        txn.release(node)
        self.collect_ingest(txn, node)
