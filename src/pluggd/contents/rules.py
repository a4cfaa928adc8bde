# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What an ingest must be to be accepted, in containerd's words. Pure functions."""

from __future__ import annotations

import hashlib
from typing import Literal

from pluggd.contents.records import IngestRecord
from pluggd.errors import FailedPrecondition, InvalidArgument, OutOfRange
from pluggd.model.digests import check_digest, split_digest, validate_digest
from pluggd.services.content import Info, WriteResult
from pluggd.services.rpc import Receive
from pluggd.struct import Struct

Action = Literal["stat", "write", "commit"]

INLINE_HASH = 1 << 16
"""Up to here (36 microseconds of sha256) a thread costs more than it saves."""

STREAM_PIECE = 4 << 20
"""Bytes of a stream that are gathered for one thread job."""


class Wanted(Struct, frozen=True):
    """What the caller says of the blob. total, expected: its size and digest, 0 and ""
    where it does not say; what the ingest was begun with counts then."""

    total: int
    expected: str
    labels: dict[str, str]


class Write(Struct, frozen=True):
    """One call of `write`, as far as that is checked without a look at the store."""

    namespace: str
    ref: str
    action: Action
    offset: int
    data: bytes
    wanted: Wanted

    @property
    def end(self) -> int:
        """Bytes that the ingest has afterwards."""
        return self.offset + len(self.data)


def check_ingest(ref: str, total: int, expected: str) -> None:
    """Raises InvalidArgument for what no state of the store could make right."""
    if not ref:
        raise InvalidArgument(
            "first message must have a reference: ref must not be empty: "
            "invalid argument"
        )
    if total < 0:
        raise InvalidArgument(f"total {total} must not be negative: invalid argument")
    if expected:
        validate_digest(expected)


def validate_info_digest(digest: str) -> None:
    """Raises InvalidArgument for a name that no blob can have."""
    reason = check_digest(digest)
    if reason is not None:
        raise InvalidArgument(
            f'"{digest}" failed validation: {reason}: invalid argument'
        )


def algorithm_of(expected: str) -> str:
    return split_digest(expected)[0] if expected else "sha256"


def digest_of(algorithm: str, data: bytes) -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def check_size(record: IngestRecord, offset: int, total: int) -> None:
    """Raises FailedPrecondition when not all announced bytes are there, or more."""
    wanted = total or record.total
    if wanted not in (0, offset):
        raise FailedPrecondition(
            f'"{record.ref}" failed size validation: {offset} != {wanted}: '
            f"failed precondition"
        )


def check_result(digest: str, expected: str) -> None:
    """Raises FailedPrecondition for a blob that is another one than expected."""
    if expected not in ("", digest):
        raise FailedPrecondition(
            f"unexpected commit digest {digest}, expected {expected}: "
            f"failed precondition"
        )


def wrong_offset(offset: int, current: int) -> OutOfRange:
    return OutOfRange(f"write @{offset} must occur at current offset {current}")


def committed(info: Info, started_at: int = 0) -> WriteResult:
    return WriteResult(
        action="commit",
        started_at=started_at or info.created_at,
        updated_at=info.updated_at,
        offset=info.size,
        total=info.size,
        digest=info.digest,
    )


def shared_state(record: IngestRecord, action: Action) -> WriteResult:
    return WriteResult(
        action=action,
        started_at=record.started_at,
        updated_at=record.updated_at,
        offset=record.size,
        total=record.size,
        digest=record.expected,
    )


class Pieces:
    """The items of a stream, joined to what is worth a thread job."""

    def __init__(self, source: Receive[bytes]) -> None:
        self._items = aiter(source)

    async def next(self) -> bytes:
        """At least STREAM_PIECE bytes; less, or none, at the end of the stream."""
        parts: list[bytes] = []
        length = 0
        while length < STREAM_PIECE:
            try:
                item = await anext(self._items)
            except StopAsyncIteration:
                break
            parts.append(item)
            length += len(item)
        return b"".join(parts)
