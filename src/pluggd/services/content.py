# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Content: blobs under their digest, shared between namespaces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from pluggd.model.record import Record
from pluggd.model.types import Time
from pluggd.services.kind import Kind
from pluggd.services.rpc import Fd, Receive, Send, rpc


class Info(Record, frozen=True):
    """A blob as one namespace sees it. size in bytes, times in ns, set by the store."""

    digest: str = ""
    size: int = 0
    created_at: Time = 0
    updated_at: Time = 0
    labels: dict[str, str] = {}


class InfoList(Record, frozen=True):
    """A page of blobs. `next`: the `after` of the next page, "" on the last."""

    infos: list[Info] = []
    next: str = ""


class Status(Record, frozen=True):
    """An ingest in progress. offset: bytes received. total: bytes announced, 0 if unknown."""

    ref: str = ""
    offset: int = 0
    total: int = 0
    expected: str = ""
    started_at: Time = 0
    updated_at: Time = 0


class StatusList(Record, frozen=True):
    statuses: list[Status] = []


class Chunk(Record, frozen=True):
    """Bytes of a blob; `offset` counts from the start of the blob."""

    offset: int = 0
    data: bytes = b""


class WriteResult(Record, frozen=True):
    """The state of the ingest after an action. digest: of the bytes so far, or of the
    committed blob."""

    action: str = ""
    started_at: Time = 0
    updated_at: Time = 0
    offset: int = 0
    total: int = 0
    digest: str = ""


class OpenedBlob(Record, frozen=True):
    """A blob and a read-only descriptor of it; the receiver closes the descriptor."""

    info: Info
    fd: Fd


class OpenedIngest(Record, frozen=True):
    """An ingest and a writable descriptor of its file; the receiver closes it before
    the commit."""

    status: Status
    fd: Fd


class Content(Protocol):
    """A namespace sees the blobs that it references; the bytes are stored once."""

    @rpc(result="info")
    async def info(self, *, digest: str) -> Info:
        """What is known of a blob. Raises InvalidArgument, NotFound."""
        ...

    @rpc(result="info")
    async def update(self, *, info: Info, fields: Sequence[str] = ()) -> Info:
        """Replace the labels, or those named as `labels.<key>`.

        Raises NotFound, InvalidArgument.
        """
        ...

    @rpc()
    async def list(
        self, *, filters: Sequence[str] = (), limit: int = 0, after: str = ""
    ) -> InfoList:
        """In byte order of the digest. Filters: `digest`, `size`, `labels.<key>`."""
        ...

    @rpc()
    async def delete(self, *, digest: str, sync: bool = False) -> None:
        """Remove this namespace's reference; the bytes go when no namespace has one.

        sync: return after the bytes are gone, if they go. Raises NotFound; Unavailable
        with `sync` when it is deleted, and its bytes cannot be reached to be removed:
        they are as soon as they can.
        """
        ...

    @rpc()
    async def read(
        self, *, digest: str, offset: int = 0, size: int = 0, verify: bool = False
    ) -> Chunk:
        """Up to `size` bytes from `offset`; at most one message's worth, 0 for that much.

        An offset at the end gives no bytes, one beyond it is OutOfRange. verify: hash
        the whole blob first. Raises NotFound, DataLoss.
        """
        ...

    @rpc()
    async def fetch(
        self, *, digest: str, offset: int = 0, size: int = 0, out: Send[bytes]
    ) -> None:
        """Stream the bytes from `offset`, `size` of them or all. Errors as in read."""
        ...

    @rpc()
    async def open(self, *, digest: str, verify: bool = False) -> OpenedBlob:
        """A read-only descriptor of the blob. Errors as in read."""
        ...

    @rpc(result="info")
    async def verify(self, *, digest: str) -> Info:
        """Read the blob and compare it with its digest. Raises DataLoss, NotFound."""
        ...

    @rpc()
    async def write(
        self,
        *,
        ref: str,
        action: Literal["stat", "write", "commit"] = "write",
        offset: int = 0,
        data: bytes = b"",
        total: int = 0,
        expected: str = "",
        labels: dict[str, str] = {},
    ) -> WriteResult:
        """Begin, continue, resume or commit the ingest named `ref`.

        stat: begin or look; write: append `data` at `offset`; commit: append what is
        given, check `total` and `expected` where given, and make it a blob.
        An offset that is not the current one is OutOfRange, except 0, which begins
        anew. Raises AlreadyExists when this namespace has the expected blob,
        FailedPrecondition for a size or digest that is not as expected (what was
        written is kept), Unavailable when another call writes to this ref.
        """
        ...

    @rpc(result="info")
    async def ingest(
        self,
        *,
        ref: str,
        total: int = 0,
        expected: str = "",
        labels: dict[str, str] = {},
        source: Receive[bytes],
    ) -> Info:
        """Take a whole blob as a stream and commit it. Errors as in write."""
        ...

    @rpc()
    async def ingest_open(
        self, *, ref: str, total: int = 0, expected: str = ""
    ) -> OpenedIngest:
        """Begin an ingest whose bytes the caller writes into a descriptor.

        Committed by `write(action="commit")` after the caller closed it; while any
        writer has it open, the commit is FailedPrecondition. Errors as in write.
        """
        ...

    @rpc(result="status")
    async def status(self, *, ref: str) -> Status:
        """How far an ingest is. Raises NotFound."""
        ...

    @rpc()
    async def list_statuses(self, *, filters: Sequence[str] = ()) -> StatusList:
        """The ingests in progress, in byte order of the ref. Filters: `ref`."""
        ...

    @rpc()
    async def abort(self, *, ref: str) -> None:
        """Throw an ingest away. Raises NotFound; Unavailable while it is written to."""
        ...


CONTENT = Kind("pluggd.content.v1", Content)
