# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Container records in the metadata store, with their references and their events.

Each change is one transaction: the record, what it keeps alive, and the event. A
container is a root as long as its record is there; it keeps its snapshot and what
its labels name, not its image. Nothing here runs anything.
"""

from __future__ import annotations

from collections.abc import Sequence

from pluggd.errors import AlreadyExists, InvalidArgument, NotFound
from pluggd.model.events import (
    ContainerCreate,
    ContainerDelete,
    ContainerRuntime,
    ContainerUpdate,
    Event,
)
from pluggd.model.record import Encoded, decode, replace
from pluggd.objects.pages import listed
from pluggd.objects.records import label_edges, stored_form
from pluggd.plugin import Deferred, Unfinished, deferred, inline_encoded
from pluggd.services import call
from pluggd.services.containers import Container, ContainerList
from pluggd.services.metadata import (
    CONTAINER,
    FOREVER,
    SNAPSHOT,
    Edge,
    Metadata,
    Node,
    Transaction,
    View,
)

from .fields import adaptor, check_update, normalized, updated
from .validation import validate_container

TABLE = "containers"


class ContainerStore:
    """The container service."""

    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata

    @deferred
    def create(self, *, container: Container) -> Deferred[Container]:
        namespace = call.namespace()
        validate_container(container, "create container")

        def change(txn: Transaction) -> Container:
            if txn.get(TABLE, namespace, container.id) is not None:
                raise AlreadyExists(f'container "{container.id}": already exists')
            created = replace(
                normalized(container), created_at=txn.now, updated_at=txn.now
            )
            _write(txn, namespace, created)
            event = ContainerCreate(
                id=created.id,
                image=created.image,
                runtime=ContainerRuntime(
                    name=created.runtime.name, options=created.runtime.options
                ),
            )
            _emit(txn, namespace, event)
            return created

        return self._metadata.start_update(change)

    @inline_encoded
    def get(self, *, id: str) -> Encoded[Container]:
        namespace = call.namespace()
        return Encoded(
            self._metadata.read(lambda view: _existing(view, namespace, id)), Container
        )

    @inline_encoded
    def list(
        self, *, filters: Sequence[str] = (), limit: int = 0, after: str = ""
    ) -> Encoded[ContainerList] | Unfinished[ContainerList]:
        namespace = call.namespace()
        return listed(
            self._metadata,
            TABLE,
            namespace,
            ContainerList,
            "containers",
            adaptor,
            filters=filters,
            limit=limit,
            after=after,
        )

    @deferred
    def update(
        self, *, container: Container, fields: Sequence[str] = ()
    ) -> Deferred[Container]:
        namespace = call.namespace()
        if not container.id:
            raise InvalidArgument("Container.ID required")
        check_update(container, fields)

        def change(txn: Transaction) -> Container:
            stored = decode(_existing(txn, namespace, container.id), Container)
            changed = updated(stored, container, fields)
            validate_container(changed, "update")
            changed = replace(changed, updated_at=txn.now)
            _write(txn, namespace, changed)
            event = ContainerUpdate(
                id=changed.id,
                image=changed.image,
                labels=changed.labels,
                snapshot_key=changed.snapshot_key,
            )
            _emit(txn, namespace, event)
            return changed

        return self._metadata.start_update(change)

    @deferred
    def delete(self, *, id: str) -> Deferred[None]:
        namespace = call.namespace()

        def change(txn: Transaction) -> None:
            _existing(txn, namespace, id)
            txn.delete(TABLE, namespace, id)
            txn.drop_node(Node(CONTAINER, namespace, id))
            _emit(txn, namespace, ContainerDelete(id=id))

        return self._metadata.start_update(change, reclaim=True)


def _existing(view: View, namespace: str, id: str) -> bytes:
    record = view.get(TABLE, namespace, id)
    if record is None:
        raise NotFound(f'container "{id}" in namespace "{namespace}": not found')
    return record


def _write(txn: Transaction, namespace: str, container: Container) -> None:
    """Store the record and state what it keeps."""
    record = stored_form(container, f'container "{container.id}"')
    edges = label_edges(namespace, container.labels)
    if container.snapshot_key:
        snapshot = Node(
            SNAPSHOT + container.snapshotter, namespace, container.snapshot_key
        )
        edges.append(Edge(snapshot))
    txn.put(TABLE, namespace, container.id, record)
    txn.set_node(Node(CONTAINER, namespace, container.id), edges, root_until=FOREVER)


def _emit(txn: Transaction, namespace: str, event: Event) -> None:
    txn.emit(namespace, event.TOPIC, event.TYPE, event)
