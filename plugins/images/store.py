# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Image records in the metadata store, with their references and their events.

Each change is one transaction: the record, what it keeps alive, and the event. The
store knows content only by digest and collection only as something to ask for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import CoroutineType
from typing import Any

from pluggd.errors import AlreadyExists, NotFound
from pluggd.model.events import Event, ImageCreate, ImageDelete, ImageUpdate
from pluggd.model.record import Encoded, decode, replace
from pluggd.model.references import expiry
from pluggd.objects.pages import listed
from pluggd.objects.records import (
    check_text,
    deletion,
    label_edges,
    stored_form,
    sync_policy,
)
from pluggd.plugin import Deferred, Unfinished, deferred, inline_encoded
from pluggd.services import call
from pluggd.services.gc import Gc
from pluggd.services.images import Image, ImageList
from pluggd.services.metadata import (
    CONTENT,
    FOREVER,
    IMAGE,
    NEVER,
    Edge,
    Metadata,
    Node,
    Transaction,
)

from .fields import adaptor, check_update, updated
from .validation import normalized, validate_image, validate_name

TABLE = "images"


class ImageStore:
    """The image service. `find_gc` gives the policy that `sync` waits for, if any."""

    def __init__(self, metadata: Metadata, find_gc: Callable[[], Gc | None]) -> None:
        self._metadata = metadata
        self._find_gc = find_gc

    @deferred
    def create(self, *, image: Image) -> Deferred[Image]:
        namespace = call.namespace()
        validate_name(image)
        validate_image(image)
        check_text(image.name, "Image.Name")

        def change(txn: Transaction) -> Image:
            if txn.get(TABLE, namespace, image.name) is not None:
                raise AlreadyExists(f'image "{image.name}": already exists')
            created = replace(normalized(image), created_at=txn.now, updated_at=txn.now)
            _write(txn, namespace, created)
            _emit(txn, namespace, ImageCreate(name=created.name, labels=created.labels))
            return created

        return self._metadata.start_update(change)

    @inline_encoded
    def get(self, *, name: str) -> Encoded[Image]:
        namespace = call.namespace()
        record = self._metadata.get(TABLE, namespace, name)
        if record is None:
            raise _not_found(name)
        return Encoded(record, Image)

    @inline_encoded
    def list(
        self, *, filters: Sequence[str] = (), limit: int = 0, after: str = ""
    ) -> Encoded[ImageList] | Unfinished[ImageList]:
        namespace = call.namespace()
        return listed(
            self._metadata,
            TABLE,
            namespace,
            ImageList,
            "images",
            adaptor,
            filters=filters,
            limit=limit,
            after=after,
        )

    @deferred
    def update(self, *, image: Image, fields: Sequence[str] = ()) -> Deferred[Image]:
        namespace = call.namespace()
        validate_name(image)
        check_update(image, fields)

        def change(txn: Transaction) -> Image:
            record = txn.get(TABLE, namespace, image.name)
            if record is None:
                raise _not_found(image.name)
            stored = decode(record, Image)
            changed = updated(stored, image, fields)
            validate_image(changed)
            changed = replace(changed, updated_at=txn.now)
            _write(txn, namespace, changed, stored)
            _emit(txn, namespace, ImageUpdate(name=changed.name, labels=changed.labels))
            return changed

        return self._metadata.start_update(change)

    @deferred
    def delete(
        self, *, name: str, sync: bool = False, target: str = ""
    ) -> Deferred[None] | CoroutineType[Any, Any, None]:
        namespace = call.namespace()
        gc = sync_policy(sync, self._find_gc, f'image "{name}"')

        def change(txn: Transaction) -> None:
            record = txn.get(TABLE, namespace, name)
            if record is None:
                raise _not_found(name)
            if target:
                digest = decode(record, Image).target.digest
                if target != digest:
                    raise NotFound(
                        f'image "{name}" has target {digest}, not {target}: not found'
                    )
            node = Node(IMAGE, namespace, name)
            txn.release(node)
            txn.drop_node(node)
            collect(txn, node)

        return deletion(self._metadata, change, gc)


def collect(txn: Transaction, node: Node) -> None:
    """Remove the record of an image, and say so; also for those that expired."""
    txn.delete(TABLE, node.namespace, node.name)
    _emit(txn, node.namespace, ImageDelete(name=node.name))


def _write(
    txn: Transaction, namespace: str, image: Image, before: Image | None = None
) -> None:
    """Store the record and state what it keeps; an expiring one goes on the lease.

    before: what the store has of it, and has stated.
    """
    record = stored_form(image, f'image "{image.name}"')
    txn.put(TABLE, namespace, image.name, record)
    expires = expiry(image.labels)
    edges = _edges(namespace, image)
    # Most updates are of labels that refer to nothing.
    if (
        before is not None
        and expires is None
        and expiry(before.labels) is None
        and _edges(namespace, before) == edges
    ):
        return
    node = Node(IMAGE, namespace, image.name)
    txn.set_node(
        node,
        edges,
        root_until=FOREVER if expires is None else max(expires, NEVER),
    )
    if expires is not None:
        txn.hold(node)


def _edges(namespace: str, image: Image) -> list[Edge]:
    return [
        Edge(Node(CONTENT, namespace, image.target.digest)),
        *label_edges(namespace, image.labels),
    ]


def _emit(txn: Transaction, namespace: str, event: Event) -> None:
    txn.emit(namespace, event.TOPIC, event.TYPE, event)


def _not_found(name: str) -> NotFound:
    return NotFound(f'image "{name}": not found')
