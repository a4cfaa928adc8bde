# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a namespace still holds: what forbids its deletion, and what goes with it.

Knows the types of object only as they were registered with the metadata store.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pluggd.services.metadata import (
    CONTAINER,
    CONTENT,
    IMAGE,
    SNAPSHOT,
    ResourceType,
    Transaction,
    View,
)

_ORDER = (IMAGE, CONTENT, CONTAINER, SNAPSHOT)
"""In which messages name them; other types follow, in order of registration."""


def remaining(
    view: View, resources: Sequence[ResourceType], namespace: str
) -> list[str]:
    """What forbids the deletion, in words: `images`, `snapshots on "x" snapshotter`."""
    words: list[str] = []
    for resource in sorted(resources, key=_rank):
        if not resource.blocks_namespace:
            continue
        words += [
            _words(resource, type_) for type_ in _types(view, resource, namespace)
        ]
    return words


def drop_rest(
    txn: Transaction, resources: Iterable[ResourceType], namespace: str
) -> None:
    """Remove what does not forbid the deletion: leases, unfinished ingests."""
    for resource in resources:
        if resource.blocks_namespace:
            continue
        for node in list(txn.nodes(resource.type, namespace)):
            if not _stands_for(resource, node.type):
                continue
            txn.drop_node(node)
            if resource.collect is not None:
                resource.collect(txn, node)


def _types(view: View, resource: ResourceType, namespace: str) -> list[str]:
    """The types of this resource of which the namespace has an object, in order."""
    nodes = view.nodes(resource.type, namespace)
    found = dict.fromkeys(
        node.type for node in nodes if _stands_for(resource, node.type)
    )
    return list(found)


def _stands_for(resource: ResourceType, type_: str) -> bool:
    return type_ == resource.type or resource.type.endswith("/")


def _words(resource: ResourceType, type_: str) -> str:
    if type_ == resource.type:
        return resource.plural
    variant = type_[len(resource.type) :]
    if resource.type == SNAPSHOT:
        return f'{resource.plural} on "{variant}" snapshotter'
    return f'{resource.plural} of "{variant}"'


def _rank(resource: ResourceType) -> int:
    return _ORDER.index(resource.type) if resource.type in _ORDER else len(_ORDER)
