# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Texts, events and deletion of the namespace store."""

from __future__ import annotations

import pytest

from pluggd.errors import FailedPrecondition, InvalidArgument, NotFound
from pluggd.model.record import encode
from pluggd.objects import pages
from pluggd.plugin import INLINE_ATTRIBUTE
from pluggd.services import call
from pluggd.services.leases import Resource
from pluggd.services.metadata import (
    CONTENT,
    INGEST,
    SNAPSHOT,
    Node,
    ResourceType,
    Transaction,
)
from pluggd.services.namespaces import Namespace, NamespaceList
from pluggd.testing.conformance.containers import container
from pluggd.testing.conformance.images import image
from plugins.namespaces.store import NamespaceStore
from tests.contract.stand import Stand

PATTERN = "^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$"

CREATE_ERRORS = {
    "no name": (Namespace(), "identifier must not be empty: invalid argument"),
    "bad name": (
        Namespace(name="bad ns!"),
        f'identifier "bad ns!" must match {PATTERN}: invalid argument',
    ),
    "long name": (
        Namespace(name="a" * 77),
        f'identifier "{"a" * 77}" greater than maximum length (76 characters): '
        "invalid argument",
    ),
    "empty label key": (
        Namespace(name="ns", labels={"": "x"}),
        "namespace.Labels: label key must not be empty: invalid argument",
    ),
    "long label": (
        Namespace(name="ns", labels={"k": "v" * 5000}),
        "namespace.Labels: label key and value length (5001 bytes) greater than "
        "maximum size (4096 bytes), key: k: invalid argument",
    ),
    "undecodable label": (
        Namespace(name="ns", labels={"k": "\udc80"}),
        'namespace "ns": text must be UTF-8: invalid argument',
    ),
}


@pytest.mark.parametrize("case", CREATE_ERRORS)
async def test_a_bad_namespace_is_refused_with_its_fault(
    case: str, stores: Stand
) -> None:
    asked, message = CREATE_ERRORS[case]
    with pytest.raises(InvalidArgument) as caught:
        await stores.namespaces.create(namespace=asked)
    assert str(caught.value) == message
    assert (await stores.namespaces.list()).namespaces == []
    assert stores.events() == []


@pytest.mark.parametrize("field", ["name", "labels.", "bogus"])
async def test_what_cannot_be_updated_is_named(field: str, stores: Stand) -> None:
    await stores.namespaces.create(namespace=Namespace(name="ns"))
    with pytest.raises(InvalidArgument) as caught:
        await stores.namespaces.update(
            namespace=Namespace(name="ns"), fields=["labels", field]
        )
    expected = f'cannot update "{field}" field on namespace "ns": invalid argument'
    assert str(caught.value) == expected


async def test_an_update_with_a_long_label_changes_nothing(stores: Stand) -> None:
    created = await stores.namespaces.create(namespace=Namespace(name="ns"))
    asked = Namespace(name="ns", labels={"k": "v" * 5000})
    for fields in ([], ["labels"], ["labels.k"]):
        with pytest.raises(InvalidArgument, match=r"^namespace\.Labels: "):
            await stores.namespaces.update(namespace=asked, fields=fields)
    assert await stores.namespaces.get(name="ns") == created


async def test_gets_and_lists_are_the_stored_bytes(
    stores: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "SLICE", 1 << 62)  # nobody else is to have a turn
    store = stores.namespaces
    assert isinstance(store, NamespaceStore)
    created = await store.create(namespace=Namespace(name="ns", labels={"a": "1"}))
    got = getattr(NamespaceStore.get, INLINE_ATTRIBUTE)(store, name="ns")
    assert got.data == encode(created)
    page = getattr(NamespaceStore.list, INLINE_ATTRIBUTE)(store)
    assert page.data == encode(NamespaceList(namespaces=[created]))


async def test_each_change_has_one_event_in_the_namespace_itself(
    stores: Stand,
) -> None:
    with call.using(namespace="elsewhere"):
        await stores.namespaces.create(
            namespace=Namespace(name="ns", labels={"k": "v"})
        )
        await stores.namespaces.update(namespace=Namespace(name="ns"))
        await stores.namespaces.delete(name="ns")
    assert stores.events() == [
        (
            "ns",
            "/namespaces/create",
            "containerd.events.NamespaceCreate",
            {"name": "ns", "labels": {"k": "v"}},
        ),
        (
            "ns",
            "/namespaces/update",
            "containerd.events.NamespaceUpdate",
            {"name": "ns"},
        ),
        (
            "ns",
            "/namespaces/delete",
            "containerd.events.NamespaceDelete",
            {"name": "ns"},
        ),
    ]


async def test_the_first_record_makes_its_namespace(stores: Stand) -> None:
    with call.using(namespace="ns"):
        assert (await stores.images.list()).images == []
        with pytest.raises(NotFound):
            await stores.namespaces.get(name="ns")
        await stores.images.create(image=image())
    assert await stores.namespaces.get(name="ns") == Namespace(name="ns")
    await stores.namespaces.update(namespace=Namespace(name="ns", labels={"a": "1"}))
    with call.using(namespace="ns"):
        await stores.images.create(image=image("second"))
    assert (await stores.namespaces.get(name="ns")).labels == {"a": "1"}


async def register_backends(stores: Stand, collected: list[str]) -> None:
    """Types of object that other plugins bring."""

    def collect(txn: Transaction, node: Node) -> None:
        collected.append(str(node))

    stores.metadata.register(ResourceType(SNAPSHOT, "snapshots", collect=collect))
    stores.metadata.register(ResourceType(CONTENT, "blobs", collect=collect))
    stores.metadata.register(
        ResourceType(INGEST, "ingests", collect=collect, blocks_namespace=False)
    )
    stores.metadata.register(ResourceType("stream", "streams", blocks_namespace=False))
    stores.metadata.register(ResourceType("volume/", "volumes"))


async def put_nodes(stores: Stand, *nodes: Node) -> None:
    def change(txn: Transaction) -> None:
        for node in nodes:
            txn.put("images", node.namespace, f"{node.type} {node.name}", b"\x80")
            txn.delete("images", node.namespace, f"{node.type} {node.name}")
            txn.set_node(node)

    await stores.metadata.update(change)


async def test_a_namespace_that_holds_something_cannot_be_deleted(
    stores: Stand,
) -> None:
    await register_backends(stores, [])
    with call.using(namespace="x"):
        await stores.images.create(image=image())
    await put_nodes(
        stores,
        Node(CONTENT, "x", "sha256:a"),
        Node(CONTENT, "x", "sha256:b"),
        Node("snapshot/overlayfs", "x", "k"),
        Node("image", "other", "y"),
    )
    with pytest.raises(FailedPrecondition) as caught:
        await stores.namespaces.delete(name="x")
    assert str(caught.value) == (
        'namespace "x" must be empty, but it still has images, blobs, snapshots on '
        '"overlayfs" snapshotter: failed precondition'
    )
    await stores.namespaces.get(name="x")

    with call.using(namespace="x"):
        await stores.containers.create(container=container())
    await put_nodes(
        stores, Node("snapshot/native", "x", "k"), Node("volume/local", "x", "v")
    )
    with pytest.raises(FailedPrecondition) as caught:
        await stores.namespaces.delete(name="x")
    assert str(caught.value) == (
        'namespace "x" must be empty, but it still has images, blobs, containers, '
        'snapshots on "native" snapshotter, snapshots on "overlayfs" snapshotter, '
        'volumes of "local": failed precondition'
    )


async def test_leases_and_ingests_go_with_their_namespace(stores: Stand) -> None:
    collected: list[str] = []
    await register_backends(stores, collected)
    for name in ("x", "other"):
        with call.using(namespace=name):
            await stores.leases.create(id="l")
            await stores.leases.add_resource(
                id="l", resource=Resource(type="ingests", id="r")
            )
    ingest, stream = Node(INGEST, "x", "r"), Node("stream", "x", "s")
    await put_nodes(stores, ingest, stream, Node(INGEST, "other", "r"))

    await stores.namespaces.delete(name="x")

    assert collected == ["ingest x/r"]
    assert not stores.metadata.read(lambda view: view.has_node(ingest))
    assert not stores.metadata.read(lambda view: view.has_node(stream))
    with call.using(namespace="x"):
        assert (await stores.leases.list()).leases == []
    with call.using(namespace="other"):
        assert len((await stores.leases.list()).leases) == 1
    names = [one.name for one in (await stores.namespaces.list()).namespaces]
    assert names == ["other"]


async def test_an_emptied_namespace_can_be_deleted(stores: Stand) -> None:
    with call.using(namespace="x"):
        await stores.images.create(image=image())
        await stores.images.delete(name="a")
    await stores.namespaces.delete(name="x")
    with pytest.raises(NotFound, match=r'^namespace "x": not found$'):
        await stores.namespaces.delete(name="x")
