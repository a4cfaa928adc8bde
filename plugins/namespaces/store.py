# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Namespace records in the metadata store.

The records lie in a table of their own, under the empty namespace. The metadata
store writes one too, when something is first put into a namespace; so a namespace
exists if and only if it has a record. Events appear in the namespace itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from pluggd.errors import AlreadyExists, FailedPrecondition, NotFound
from pluggd.model.events import (
    NamespaceCreate,
    NamespaceDelete,
    NamespaceUpdate,
)
from pluggd.model.fieldmask import check_fields, masked_map
from pluggd.model.filters import Adaptor, label_value
from pluggd.model.identifiers import validate_identifier
from pluggd.model.labels import validate_labels, without_empty
from pluggd.model.record import Encoded, decode, replace
from pluggd.objects.pages import listed
from pluggd.objects.records import stored_form
from pluggd.plugin import Unfinished, inline_encoded
from pluggd.services.metadata import Metadata, Transaction, View
from pluggd.services.namespaces import Namespace, NamespaceList

from .contents import drop_rest, remaining

TABLE = "namespaces"
LABELS = "namespace.Labels"


class NamespaceStore:
    """The namespace service."""

    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata

    async def create(self, *, namespace: Namespace) -> Namespace:
        validate_identifier(namespace.name)
        validate_labels(namespace.labels, LABELS)
        created = replace(namespace, labels=without_empty(namespace.labels))

        def change(txn: Transaction) -> Namespace:
            if txn.get(TABLE, "", created.name) is not None:
                raise AlreadyExists(f'namespace "{created.name}": already exists')
            _write(txn, created)
            _emit(txn, NamespaceCreate(name=created.name, labels=created.labels))
            return created

        return await self._metadata.update(change)

    @inline_encoded
    def get(self, *, name: str) -> Encoded[Namespace]:
        return Encoded(
            self._metadata.read(lambda view: _existing(view, name)), Namespace
        )

    @inline_encoded
    def list(
        self, *, filters: Sequence[str] = (), limit: int = 0, after: str = ""
    ) -> Encoded[NamespaceList] | Unfinished[NamespaceList]:
        return listed(
            self._metadata,
            TABLE,
            "",
            NamespaceList,
            "namespaces",
            _adaptor,
            filters=filters,
            limit=limit,
            after=after,
        )

    async def update(
        self, *, namespace: Namespace, fields: Sequence[str] = ()
    ) -> Namespace:
        what = f'namespace "{namespace.name}"'
        check_fields(fields, maps=("labels",), what=what)

        def change(txn: Transaction) -> Namespace:
            stored = decode(_existing(txn, namespace.name), Namespace)
            labels = masked_map(
                stored.labels, namespace.labels, fields or ("labels",), "labels"
            )
            validate_labels(labels, LABELS)
            changed = replace(stored, labels=labels)
            _write(txn, changed)
            _emit(txn, NamespaceUpdate(name=changed.name, labels=changed.labels))
            return changed

        return await self._metadata.update(change)

    async def delete(self, *, name: str) -> None:
        resources = self._metadata.resources()

        def change(txn: Transaction) -> None:
            _existing(txn, name)
            held = remaining(txn, resources, name)
            if held:
                raise FailedPrecondition(
                    f'namespace "{name}" must be empty, but it still has '
                    f"{', '.join(held)}: failed precondition"
                )
            drop_rest(txn, resources, name)
            txn.delete(TABLE, "", name)
            _emit(txn, NamespaceDelete(name=name))

        await self._metadata.update(change, reclaim=True, long=True)


def _existing(view: View, name: str) -> bytes:
    record = view.get(TABLE, "", name)
    if record is None:
        raise NotFound(f'namespace "{name}": not found')
    return record


def _write(txn: Transaction, namespace: Namespace) -> None:
    record = stored_form(namespace, f'namespace "{namespace.name}"')
    txn.put(TABLE, "", namespace.name, record)


def _emit(
    txn: Transaction, event: NamespaceCreate | NamespaceUpdate | NamespaceDelete
) -> None:
    txn.emit(event.name, event.TOPIC, event.TYPE, event)


def _adaptor(record: bytes) -> Adaptor:
    namespace = decode(record, Namespace)

    def field(path: tuple[str, ...]) -> str | None:
        match path:
            case ("name",):
                return namespace.name
            case ("labels", *rest):
                return label_value(namespace.labels, rest)
            case _:
                return None

    return field
