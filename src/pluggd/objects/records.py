# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the record stores share when they write and delete.

One record, its canonical bytes, the edges that its labels state, and the policy that
a deletion waits for. What a record means is the store's matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import CoroutineType
from typing import Any

from pluggd.deferred import Deferred
from pluggd.errors import FailedPrecondition, InvalidArgument, Unavailable
from pluggd.model.record import encode
from pluggd.model.references import references
from pluggd.services.gc import GC, Gc
from pluggd.services.metadata import Edge, Metadata, Node, Transaction

MAX_NAME = 2 << 20
"""Bytes of a name. A page of a listing has at least one record and the name from which
the next one goes on, and both must fit a message (16 MiB by default)."""


def stored_form(record: object, what: str) -> bytes:
    """The bytes under which a record, or plain data, is stored.

    Raises InvalidArgument, beginning with `what`, for what no client could read
    back: text that is not UTF-8, a number beyond 64 bits.
    """
    try:
        return encode(record)
    except UnicodeEncodeError:
        raise InvalidArgument(f"{what}: text must be UTF-8: invalid argument") from None
    except OverflowError:
        raise InvalidArgument(
            f"{what}: numbers must fit 64 bits: invalid argument"
        ) from None


def check_text(text: str, what: str) -> None:
    """Raises InvalidArgument for a name that no client could read back: one that is
    not UTF-8, or longer than MAX_NAME."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidArgument(f"{what}: text must be UTF-8: invalid argument") from None
    if size > MAX_NAME:
        raise InvalidArgument(
            f"{what}: has {size} bytes, {MAX_NAME} are allowed: invalid argument"
        )


def label_edges(namespace: str, labels: Mapping[str, str]) -> list[Edge]:
    """The edges that labels state (`model.references`), within their namespace."""
    return [
        Edge(Node(found.type, namespace, found.key), back=found.back)
        for found in references(labels)
    ]


def sync_policy(sync: bool, find_gc: Callable[[], Gc | None], what: str) -> Gc | None:
    """The policy that a deletion with `sync` waits for; None without.

    Raises FailedPrecondition, beginning with `what`, when there is no policy.
    """
    if not sync:
        return None
    gc = find_gc()
    if gc is None:
        raise FailedPrecondition(
            f"{what}: sync needs a garbage collection policy ({GC.name}), and none is "
            "running; delete without sync, or enable one: failed precondition"
        )
    return gc


def deletion(
    metadata: Metadata, change: Callable[[Transaction], None], gc: Gc | None
) -> Deferred[None] | CoroutineType[Any, Any, None]:
    """Begin a deletion, for a `deferred` method to return; and, with a policy, a
    collection after it, which is waited for."""
    if gc is None:
        return metadata.start_update(change, reclaim=True)
    # mypy has no name for what `async def` makes.
    return _delete_and_collect(metadata, change, gc)  # type: ignore[return-value]


async def _delete_and_collect(
    metadata: Metadata, change: Callable[[Transaction], None], gc: Gc
) -> None:
    await metadata.update(change, reclaim=True)
    await collect_now(gc)


async def collect_now(gc: Gc) -> None:
    """Wait for a whole collection, after a deletion with `sync`.

    Raises Unavailable when a backend still has bytes that nobody needs any more: who
    asked for their end is told that it is still to come.
    """
    stats = await gc.run(wait=True)
    if stats is not None and stats.left:
        reasons = "; ".join(stats.left.values())
        raise Unavailable(
            "it is deleted, and bytes that nothing needs any more could not be removed"
            f" yet; that is tried again by itself: {reasons}"
        )
