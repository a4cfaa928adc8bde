# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Lease records in the metadata store; what they hold are edges of their nodes.

A lease is a root until it expires. Its record says nothing about resources: calls
that name a lease add edges to its node (`Transaction.hold`), and so does
`add_resource`. There are no events of leases, as in containerd.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from types import CoroutineType
from typing import Any

from pluggd.errors import AlreadyExists, InvalidArgument, NotFound
from pluggd.model.filters import Adaptor, label_value
from pluggd.model.labels import validate_labels, without_empty
from pluggd.model.record import Encoded, decode
from pluggd.model.references import EXPIRE, expiry, is_flat
from pluggd.objects.pages import listed
from pluggd.objects.records import check_text, deletion, stored_form, sync_policy
from pluggd.plugin import Deferred, Unfinished, deferred, inline, inline_encoded
from pluggd.services import call
from pluggd.services.gc import Gc
from pluggd.services.leases import Lease, LeaseList, Resource, ResourceList
from pluggd.services.metadata import (
    FOREVER,
    LEASE,
    NEVER,
    Edge,
    Metadata,
    Node,
    Transaction,
    View,
)

from .resources import node_of, resource_of

TABLE = "leases"
MAX_EXPIRES_IN = 100 * 365 * 86400.0
"""Seconds; beyond a hundred years, `expires_in` is a mistake of units."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class LeaseManager:
    """The lease service. `find_gc` gives the policy that `sync` waits for, if any."""

    def __init__(
        self,
        metadata: Metadata,
        find_gc: Callable[[], Gc | None],
        log: logging.LoggerAdapter[logging.Logger],
    ) -> None:
        self._metadata = metadata
        self._find_gc = find_gc
        self._log = log

    @deferred
    def create(
        self, *, id: str = "", labels: dict[str, str] = {}, expires_in: float = 0
    ) -> Deferred[Lease]:
        namespace = call.namespace()
        validate_labels(labels, "lease.Labels")
        _validate_expiry(labels, expires_in)
        check_text(id, "lease id")
        if labels.get(EXPIRE) and expiry(labels) is None:
            self._log.warning(
                "lease never expires: its %s is %r, which is no RFC 3339 time",
                EXPIRE,
                labels[EXPIRE],
            )

        def change(txn: Transaction) -> Lease:
            if id and txn.get(TABLE, namespace, id) is not None:
                raise AlreadyExists(f'lease "{id}": already exists')
            stated = without_empty(labels)
            if expires_in:
                stated[EXPIRE] = _rfc3339(txn.now, expires_in)
            lease = Lease(
                id=id or _free_id(txn, namespace), created_at=txn.now, labels=stated
            )
            expires = expiry(stated)
            txn.put(
                TABLE, namespace, lease.id, stored_form(lease, f'lease "{lease.id}"')
            )
            txn.set_node(
                Node(LEASE, namespace, lease.id),
                root_until=FOREVER if expires is None else max(expires, NEVER),
                flat=is_flat(stated),
            )
            return lease

        return self._metadata.start_update(change)

    @inline_encoded
    def get(self, *, id: str) -> Encoded[Lease]:
        namespace = call.namespace()
        return Encoded(
            self._metadata.read(lambda view: _existing(view, namespace, id)), Lease
        )

    @inline_encoded
    def list(
        self, *, filters: Sequence[str] = (), limit: int = 0, after: str = ""
    ) -> Encoded[LeaseList] | Unfinished[LeaseList]:
        namespace = call.namespace()
        return listed(
            self._metadata,
            TABLE,
            namespace,
            LeaseList,
            "leases",
            _adaptor,
            filters=filters,
            limit=limit,
            after=after,
        )

    @deferred
    def delete(
        self, *, id: str, sync: bool = False
    ) -> Deferred[None] | CoroutineType[Any, Any, None]:
        namespace = call.namespace()
        gc = sync_policy(sync, self._find_gc, f'lease "{id}"')

        def change(txn: Transaction) -> None:
            _existing(txn, namespace, id)
            node = Node(LEASE, namespace, id)
            txn.drop_node(node)
            collect(txn, node)

        return deletion(self._metadata, change, gc)

    @deferred
    def add_resource(self, *, id: str, resource: Resource) -> Deferred[None]:
        namespace = call.namespace()
        target = node_of(resource, namespace)

        def change(txn: Transaction) -> None:
            _existing(txn, namespace, id)
            txn.add_edge(Node(LEASE, namespace, id), Edge(target))

        return self._metadata.start_update(change)

    @deferred
    def delete_resource(self, *, id: str, resource: Resource) -> Deferred[None]:
        namespace = call.namespace()
        target = node_of(resource, namespace)

        def change(txn: Transaction) -> None:
            _existing(txn, namespace, id)
            txn.remove_edge(Node(LEASE, namespace, id), Edge(target))

        return self._metadata.start_update(change, reclaim=True)

    @inline
    def list_resources(self, *, id: str) -> ResourceList:
        namespace = call.namespace()

        def held(view: View) -> ResourceList:
            _existing(view, namespace, id)
            edges = view.edges(Node(LEASE, namespace, id))
            resources = [resource_of(edge.target) for edge in edges]
            resources.sort(key=lambda one: (one.type.encode(), one.id.encode()))
            return ResourceList(resources=resources)

        return self._metadata.read(held)


def collect(txn: Transaction, node: Node) -> None:
    """Remove the record of a lease: one that expired, or of a namespace that goes."""
    txn.delete(TABLE, node.namespace, node.name)


def _existing(view: View, namespace: str, id: str) -> bytes:
    record = view.get(TABLE, namespace, id)
    if record is None:
        raise NotFound(f'lease "{id}": not found')
    return record


def _adaptor(record: bytes) -> Adaptor:
    lease = decode(record, Lease)

    def field(path: tuple[str, ...]) -> str | None:
        match path:
            case ("id",):
                return lease.id
            case ("labels", *rest):
                return label_value(lease.labels, rest)
            case _:
                return None

    return field


def _validate_expiry(labels: dict[str, str], expires_in: float) -> None:
    if not 0 <= expires_in <= MAX_EXPIRES_IN:  # also refuses nan
        raise InvalidArgument(
            f"expires_in {expires_in}: must be seconds from 0 to {MAX_EXPIRES_IN:.0f}: "
            "invalid argument"
        )
    if expires_in and labels.get(EXPIRE):
        raise InvalidArgument(
            f"lease.Labels: {EXPIRE} and expires_in both set the expiry; give one of "
            "them: invalid argument"
        )


def _rfc3339(now: int, seconds: float) -> str:
    """The time `seconds` after `now` (ns), in UTC, to the microsecond."""
    when = _EPOCH + timedelta(microseconds=now // 1000, seconds=seconds)
    return when.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _free_id(txn: Transaction, namespace: str) -> str:
    """An id in containerd's form, `<nanoseconds>-<4 characters>`, that is not taken."""
    while True:
        made_up = f"{txn.now % 1_000_000_000}-{secrets.token_urlsafe(3)}"
        if txn.get(TABLE, namespace, made_up) is None:
            return made_up
