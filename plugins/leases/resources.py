# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Resources as a lease's user names them, and nodes as the collector knows them.

`content`, `ingests`, `images` and `snapshots/<snapshotter>` are containerd's words;
the collector says `content`, `ingest`, `image` and `snapshot/<snapshotter>`.
"""

from __future__ import annotations

from pluggd.errors import InvalidArgument, NotImplemented_
from pluggd.model.digests import check_digest
from pluggd.objects.records import check_text
from pluggd.services.leases import Resource
from pluggd.services.metadata import CONTENT, IMAGE, INGEST, SNAPSHOT, Node

_NODE_TYPES = {"content": CONTENT, "images": IMAGE, "ingests": INGEST}
_RESOURCE_TYPES = {node: resource for resource, node in _NODE_TYPES.items()}
_SNAPSHOTS = "snapshots"


def node_of(resource: Resource, namespace: str) -> Node:
    """The node that a resource names.

    Raises InvalidArgument for a bad id or snapshotter, NotImplemented_ for a type
    that leases do not hold.
    """
    node_type = _node_type(resource.type)
    if not resource.id:
        raise InvalidArgument(
            f"{resource.type}: resource id must not be empty: invalid argument"
        )
    check_text(resource.id, f"{resource.type}: resource id")
    if node_type == CONTENT:
        reason = check_digest(resource.id)
        if reason is not None:
            raise InvalidArgument(
                f"invalid content resource id {resource.id}: {reason}: invalid argument"
            )
    return Node(node_type, namespace, resource.id)


def resource_of(node: Node) -> Resource:
    """The resource that names a node; the inverse of `node_of`."""
    if node.type.startswith(SNAPSHOT):
        type_ = f"{_SNAPSHOTS}/{node.type[len(SNAPSHOT) :]}"
    else:
        type_ = _RESOURCE_TYPES.get(node.type, node.type)
    return Resource(id=node.name, type=type_)


def _node_type(type_: str) -> str:
    name, *parts = type_.split("/")
    if name == _SNAPSHOTS:
        if len(parts) != 1 or not parts[0]:
            raise InvalidArgument(
                f"invalid snapshot resource type {type_}: invalid argument"
            )
        check_text(type_, "resource type")
        return SNAPSHOT + parts[0]
    if not type_:
        raise InvalidArgument(
            "resource type must be content, images, ingests or snapshots/<snapshotter>: "
            "invalid argument"
        )
    found = _NODE_TYPES.get(type_)
    if found is None:
        raise NotImplemented_(
            f"resource type {type_} not supported yet: not implemented"
        )
    return found
