# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Texts, references and collection of the lease manager."""

from __future__ import annotations

import pytest

from pluggd.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    NotImplemented_,
    PluggdError,
)
from pluggd.model.record import encode
from pluggd.objects import pages
from pluggd.plugin import INLINE_ATTRIBUTE
from pluggd.services import call
from pluggd.services.leases import LeaseList, Resource
from pluggd.services.metadata import (
    CONTENT,
    IMAGE,
    INGEST,
    LEASE,
    Edge,
    Node,
    ResourceType,
    Transaction,
)
from pluggd.testing.conformance.leases import DIGEST, EXPIRE
from plugins.leases.manager import LeaseManager
from plugins.leases.resources import node_of, resource_of
from tests.contract.stand import Stand

FLAT = "containerd.io/gc.flat"
OTHER = "sha256:" + "b" * 64
CHILD = "sha256:" + "c" * 64

RESOURCE_ERRORS: dict[str, tuple[Resource, type[PluggdError], str]] = {
    "no digest": (
        Resource(type="content", id="zz"),
        InvalidArgument,
        "invalid content resource id zz: invalid checksum digest format: "
        "invalid argument",
    ),
    "no snapshotter": (
        Resource(type="snapshots", id="x"),
        InvalidArgument,
        "invalid snapshot resource type snapshots: invalid argument",
    ),
    "empty snapshotter": (
        Resource(type="snapshots/", id="x"),
        InvalidArgument,
        "invalid snapshot resource type snapshots/: invalid argument",
    ),
    "three parts": (
        Resource(type="snapshots/a/b", id="x"),
        InvalidArgument,
        "invalid snapshot resource type snapshots/a/b: invalid argument",
    ),
    "other type": (
        Resource(type="containers", id="x"),
        NotImplemented_,
        "resource type containers not supported yet: not implemented",
    ),
    "the collector's word": (
        Resource(type="snapshot/native", id="x"),
        NotImplemented_,
        "resource type snapshot/native not supported yet: not implemented",
    ),
    "no type": (
        Resource(id="x"),
        InvalidArgument,
        "resource type must be content, images, ingests or snapshots/<snapshotter>: "
        "invalid argument",
    ),
    "no id": (
        Resource(type="ingests"),
        InvalidArgument,
        "ingests: resource id must not be empty: invalid argument",
    ),
    "undecodable id": (
        Resource(type="ingests", id="\udc80"),
        InvalidArgument,
        "ingests: resource id: text must be UTF-8: invalid argument",
    ),
}


@pytest.mark.parametrize("case", RESOURCE_ERRORS)
async def test_a_bad_resource_is_refused_with_its_fault(
    case: str, stores: Stand
) -> None:
    resource, error, message = RESOURCE_ERRORS[case]
    with call.using(namespace="ns"):
        await stores.leases.create(id="l")
        with pytest.raises(error) as caught:
            await stores.leases.add_resource(id="l", resource=resource)
        assert str(caught.value) == message
        with pytest.raises(error):
            await stores.leases.delete_resource(id="l", resource=resource)
        assert (await stores.leases.list_resources(id="l")).resources == []


@pytest.mark.parametrize(
    ("resource", "node"),
    [
        (Resource(type="content", id=DIGEST), Node(CONTENT, "ns", DIGEST)),
        (Resource(type="images", id="i"), Node(IMAGE, "ns", "i")),
        (Resource(type="ingests", id="r"), Node(INGEST, "ns", "r")),
        (Resource(type="snapshots/native", id="k"), Node("snapshot/native", "ns", "k")),
    ],
)
def test_resources_are_nodes_by_other_words(resource: Resource, node: Node) -> None:
    assert node_of(resource, "ns") == node
    assert resource_of(node) == resource


async def test_labels_are_checked(stores: Stand) -> None:
    with call.using(namespace="ns"):
        with pytest.raises(
            InvalidArgument, match=r"^lease\.Labels: label key and value"
        ):
            await stores.leases.create(labels={"k": "v" * 5000})
        with pytest.raises(
            InvalidArgument, match=r"^lease\.Labels: label key must not"
        ):
            await stores.leases.create(labels={"": "v"})
        with pytest.raises(InvalidArgument, match=r"^lease id: text must be UTF-8"):
            await stores.leases.create(id="\udc80")
        with pytest.raises(InvalidArgument, match=r'^lease "x": text must be UTF-8'):
            await stores.leases.create(id="x", labels={"k": "\udc80"})


async def test_gets_and_lists_are_the_stored_bytes(
    stores: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "SLICE", 1 << 62)  # nobody else is to have a turn
    assert isinstance(stores.leases, LeaseManager)
    with call.using(namespace="ns"):
        created = await stores.leases.create(id="l", labels={"k": "v"})
        got = getattr(LeaseManager.get, INLINE_ATTRIBUTE)(stores.leases, id="l")
        assert got.data == encode(created)
        page = getattr(LeaseManager.list, INLINE_ATTRIBUTE)(stores.leases)
        assert page.data == encode(LeaseList(leases=[created]))


async def test_leases_have_no_events(stores: Stand) -> None:
    with call.using(namespace="ns"):
        await stores.leases.create(id="l")
        await stores.leases.add_resource(
            id="l", resource=Resource(type="ingests", id="r")
        )
        await stores.leases.delete(id="l")
    assert stores.events() == []


async def blobs(stores: Stand) -> set[str]:
    """Put in DIGEST, which refers to CHILD, and OTHER; nothing else keeps them."""

    def put(txn: Transaction) -> None:
        for digest, edges in ((DIGEST, [CHILD]), (CHILD, []), (OTHER, [])):
            node = Node(CONTENT, "ns", digest)
            txn.put("blobs", "ns", digest, b"\xc0")
            txn.set_node(node, [Edge(Node(CONTENT, "ns", one)) for one in edges])

    def collect(txn: Transaction, node: Node) -> None:
        txn.delete("blobs", node.namespace, node.name)

    await stores.metadata.open_table("blobs")
    stores.metadata.register(ResourceType(CONTENT, "blobs", collect=collect))
    await stores.metadata.update(put)
    return {DIGEST, CHILD, OTHER}


def present(stores: Stand) -> set[str]:
    return stores.metadata.read(
        lambda view: {name for name, _ in view.scan("blobs", "ns")}
    )


async def test_a_lease_keeps_what_it_holds_and_what_that_refers_to(
    stores: Stand,
) -> None:
    with call.using(namespace="ns"):
        await stores.leases.create(id="l")
        held = Resource(type="content", id=DIGEST)
        await stores.leases.add_resource(id="l", resource=held)
        await blobs(stores)
        await stores.metadata.collect()
        assert present(stores) == {DIGEST, CHILD}
        await stores.leases.delete_resource(id="l", resource=held)
        await stores.metadata.collect()
        assert present(stores) == set()


async def test_a_flat_lease_keeps_only_what_it_holds(stores: Stand) -> None:
    with call.using(namespace="ns"):
        await stores.leases.create(id="l", labels={FLAT: "1"})
        await stores.leases.add_resource(
            id="l", resource=Resource(type="content", id=DIGEST)
        )
        await blobs(stores)
        await stores.metadata.collect()
        assert present(stores) == {DIGEST}


async def test_an_expired_lease_goes_and_so_does_what_it_held(stores: Stand) -> None:
    with call.using(namespace="ns"):
        await stores.leases.create(id="past", labels={EXPIRE: "2001-01-01T00:00:00Z"})
        await stores.leases.create(id="future", expires_in=1000)
        await stores.leases.create(id="odd", labels={EXPIRE: "never mind"})
        for lease, digest in (("past", DIGEST), ("future", OTHER)):
            await stores.leases.add_resource(
                id=lease, resource=Resource(type="content", id=digest)
            )
        await blobs(stores)
        await stores.metadata.collect()
        assert present(stores) == {OTHER}
        ids = [one.id for one in (await stores.leases.list()).leases]
        assert ids == ["future", "odd"]


async def test_an_expiry_that_cannot_be_read_is_told(
    stores: Stand, caplog: pytest.LogCaptureFixture
) -> None:
    with call.using(namespace="ns"):
        await stores.leases.create(id="fine", labels={EXPIRE: "2100-01-01T00:00:00Z"})
        assert not caplog.records
        await stores.leases.create(id="odd", labels={EXPIRE: "tomorrow"})
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert "its containerd.io/gc.expire is 'tomorrow'" in record.getMessage()


async def test_a_call_with_a_lease_puts_what_it_makes_on_it(stores: Stand) -> None:
    with call.using(namespace="ns"):
        await stores.leases.create(id="l")
        with call.using(lease="l"):
            await stores.metadata.update(
                lambda txn: txn.hold(Node(CONTENT, "ns", DIGEST))
            )
        listed = (await stores.leases.list_resources(id="l")).resources
        assert listed == [Resource(type="content", id=DIGEST)]


async def test_a_synchronous_delete_waits_for_a_collection(stores: Stand) -> None:
    with call.using(namespace="ns"):
        await stores.leases.create(id="l")
        await stores.leases.delete(id="l", sync=True)
        assert stores.gc.runs == 1
        await stores.leases.create(id="l")
        stores.without_gc()
        with pytest.raises(
            FailedPrecondition, match=r'^lease "l": sync needs a garbage'
        ):
            await stores.leases.delete(id="l", sync=True)
        await stores.leases.get(id="l")
        await stores.leases.delete(id="l")
        with pytest.raises(NotFound):
            await stores.leases.get(id="l")
    node = Node(LEASE, "ns", "l")
    assert not stores.metadata.read(lambda view: view.has_node(node))
