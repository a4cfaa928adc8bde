# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Texts, events, references and collection of the image store."""

from __future__ import annotations

import pytest

from pluggd.errors import FailedPrecondition, InvalidArgument, NotFound, PluggdError
from pluggd.model.record import encode, replace
from pluggd.model.types import Descriptor
from pluggd.objects import pages
from pluggd.plugin import INLINE_ATTRIBUTE
from pluggd.services import call
from pluggd.services.images import Image, ImageList
from pluggd.services.metadata import CONTENT, IMAGE, LEASE, Edge, Node
from pluggd.testing.conformance.images import DIGEST, OTHER, TARGET, image
from plugins.images.store import ImageStore
from tests.contract.stand import Stand

EXPIRE = "containerd.io/gc.expire"
PAST = "2001-01-01T00:00:00Z"
FUTURE = "2999-01-01T00:00:00Z"

LABEL = (
    "image.Labels: label key and value length (4100 bytes) greater than maximum size "
    f"(4096 bytes), key: {'k' * 64}: invalid argument"
)

CREATE_ERRORS = {
    "": (Image(), "Image.Name required"),
    "no name, first of all": (Image(labels={"": "x"}), "Image.Name required"),
    "long label": (Image(name="b", labels={"k" * 4000: "v" * 100}), LABEL),
    "empty label key": (
        Image(name="b", labels={"": "x"}),
        "image.Labels: label key must not be empty: invalid argument",
    ),
    "no target": (
        Image(name="b"),
        'Target.Digest "" invalid: invalid checksum digest format: invalid argument',
    ),
    "short digest": (
        Image(name="b", target=Descriptor(digest="sha256:zz")),
        'Target.Digest "sha256:zz" invalid: invalid checksum digest length: '
        "invalid argument",
    ),
    "upper case": (
        Image(name="b", target=Descriptor(digest=f"sha256:{'A' * 64}")),
        f'Target.Digest "sha256:{"A" * 64}" invalid: invalid checksum digest format: '
        "invalid argument",
    ),
    "unknown algorithm": (
        Image(name="b", target=Descriptor(digest="md5:" + "a" * 32)),
        f'Target.Digest "md5:{"a" * 32}" invalid: unsupported digest algorithm: '
        "invalid argument",
    ),
    "no size": (
        Image(name="b", target=Descriptor(digest=DIGEST)),
        "Target.Size must be greater than zero: invalid argument",
    ),
    "negative size": (
        Image(name="b", target=Descriptor(digest=DIGEST, size=-1)),
        "Target.Size must be greater than zero: invalid argument",
    ),
    "large size": (
        Image(name="b", target=replace(TARGET, size=2**63)),
        "Target.Size must not be greater than 9223372036854775807: invalid argument",
    ),
    "no type": (
        Image(name="b", target=Descriptor(digest=DIGEST, size=1)),
        "Target.MediaType must be set: invalid argument",
    ),
    "empty annotation key": (
        Image(name="b", target=replace(TARGET, annotations={"": "x"})),
        "Target.Annotations: annotation key must not be empty: invalid argument",
    ),
    "undecodable name": (
        Image(name="\udc80", target=TARGET),
        "Image.Name: text must be UTF-8: invalid argument",
    ),
    "undecodable label": (
        Image(name="b", target=TARGET, labels={"x": "\udc80"}),
        'image "b": text must be UTF-8: invalid argument',
    ),
}


@pytest.mark.parametrize("case", CREATE_ERRORS)
async def test_a_bad_image_is_refused_with_its_fault(case: str, stores: Stand) -> None:
    asked, message = CREATE_ERRORS[case]
    with call.using(namespace="ns"):
        with pytest.raises(InvalidArgument) as caught:
            await stores.images.create(image=asked)
        assert str(caught.value) == message
        assert (await stores.images.list()).images == []
    assert stores.events() == []


@pytest.mark.parametrize(
    ("field", "message"),
    [
        (field, f'cannot update "{field}" field on image "b": invalid argument')
        for field in ("bogus", "name", "created_at", "target.digest", "labels.", "")
    ],
)
async def test_what_cannot_be_updated_is_named(
    field: str, message: str, stores: Stand
) -> None:
    with call.using(namespace="ns"):
        await stores.images.create(image=image("b"))
        with pytest.raises(InvalidArgument) as caught:
            await stores.images.update(image=image("b"), fields=["labels", field])
    assert str(caught.value) == message


async def test_other_texts(stores: Stand) -> None:
    async def refused(error: type[PluggdError], attempt: object) -> str:
        with pytest.raises(error) as caught:
            await attempt  # type: ignore[misc]  # any awaitable
        return str(caught.value)

    images = stores.images
    with call.using(namespace="ns"):
        nope = 'image "nope": not found'
        assert await refused(NotFound, images.get(name="nope")) == nope
        assert await refused(NotFound, images.delete(name="nope")) == nope
        assert await refused(NotFound, images.update(image=image("nope"))) == nope
        assert await refused(NotFound, images.get(name="")) == 'image "": not found'
        assert await refused(NotFound, images.delete(name="")) == 'image "": not found'
        nameless = await refused(InvalidArgument, images.update(image=Image()))
        assert nameless == "Image.Name required"
        assert await refused(InvalidArgument, images.list(filters=["name=="])) == (
            "filters: parse error: [name==]: expected value or quoted: invalid argument"
        )


async def test_gets_and_lists_are_the_stored_bytes(
    stores: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "SLICE", 1 << 62)  # nobody else is to have a turn
    assert isinstance(stores.images, ImageStore)
    with call.using(namespace="ns"):
        created = await stores.images.create(image=image(k="v"))
        got = getattr(ImageStore.get, INLINE_ATTRIBUTE)(stores.images, name="a")
        assert got.data == encode(created)
        page = getattr(ImageStore.list, INLINE_ATTRIBUTE)(stores.images)
        assert page.data == encode(ImageList(images=[created]))


async def test_each_change_has_one_event_and_a_refused_one_none(
    stores: Stand,
) -> None:
    with call.using(namespace="ns"):
        await stores.images.create(image=image(k="v"))
        await stores.images.update(image=image(k="w"))
        with pytest.raises(InvalidArgument):
            await stores.images.update(image=Image(name="a"))
        await stores.images.delete(name="a")
        with pytest.raises(NotFound):
            await stores.images.delete(name="a")
    service = "containerd.services.images.v1"
    assert stores.events() == [
        (
            "ns",
            "/images/create",
            f"{service}.ImageCreate",
            {"name": "a", "labels": {"k": "v"}},
        ),
        (
            "ns",
            "/images/update",
            f"{service}.ImageUpdate",
            {"name": "a", "labels": {"k": "w"}},
        ),
        ("ns", "/images/delete", f"{service}.ImageDelete", {"name": "a"}),
    ]


async def test_an_image_keeps_its_target_and_what_its_labels_name(
    stores: Stand,
) -> None:
    node = Node(IMAGE, "ns", "a")
    labels = {
        "containerd.io/gc.ref.content.x": OTHER,
        "containerd.io/gc.bref.image": "parent",
    }
    with call.using(namespace="ns"):
        await stores.images.create(image=image(**labels))
        edges = stores.metadata.read(lambda view: view.edges(node))
        assert set(edges) == {
            Edge(Node(CONTENT, "ns", DIGEST)),
            Edge(Node(CONTENT, "ns", OTHER)),
            Edge(Node(IMAGE, "ns", "parent"), back=True),
        }
        await stores.images.update(image=image(), fields=["labels"])
        edges = stores.metadata.read(lambda view: view.edges(node))
        assert edges == [Edge(Node(CONTENT, "ns", DIGEST))]
        await stores.images.delete(name="a")
    assert not stores.metadata.read(lambda view: view.has_node(node))


async def test_an_expiring_image_is_held_by_the_lease_of_the_call(
    stores: Stand,
) -> None:
    with call.using(namespace="ns"):
        await stores.leases.create(id="l")
        with call.using(lease="l"):
            await stores.images.create(image=image("lasting"))
            await stores.images.create(image=image("brief", **{EXPIRE: FUTURE}))
            await stores.images.create(image=image("gone", **{EXPIRE: FUTURE}))
            await stores.images.delete(name="gone")
        held = (await stores.leases.list_resources(id="l")).resources
        assert [(one.type, one.id) for one in held] == [("images", "brief")]


async def test_an_unknown_lease_stops_only_what_it_would_hold(stores: Stand) -> None:
    with call.using(namespace="ns", lease="zz"):
        await stores.images.create(image=image("lasting"))
        with pytest.raises(NotFound, match=r"^lease does not exist: not found$"):
            await stores.images.create(image=image("brief", **{EXPIRE: FUTURE}))
        listed = (await stores.images.list()).images
        assert [one.name for one in listed] == ["lasting"]


async def test_an_expired_image_is_collected_with_its_event(stores: Stand) -> None:
    with call.using(namespace="ns"):
        await stores.images.create(image=image("lasting"))
        await stores.images.create(image=image("held", **{EXPIRE: PAST}))
        await stores.images.create(image=image("brief", **{EXPIRE: PAST}))
        await stores.images.create(image=image("odd", **{EXPIRE: "tomorrow"}))
        await stores.leases.create(id="l")
        node = Edge(Node(IMAGE, "ns", "held"))
        await stores.metadata.update(
            lambda txn: txn.add_edge(Node(LEASE, "ns", "l"), node)
        )
        stats = await stores.metadata.collect()
        assert stats.removed == {"image": 1}
        listed = (await stores.images.list()).images
        assert [one.name for one in listed] == ["held", "lasting", "odd"]
    deleted = [event for event in stores.events() if event[1] == "/images/delete"]
    assert [event[3] for event in deleted] == [{"name": "brief"}]


async def test_a_synchronous_delete_waits_for_a_collection(stores: Stand) -> None:
    with call.using(namespace="ns"):
        await stores.images.create(image=image())
        await stores.images.delete(name="a")
        assert stores.gc.runs == 0
        await stores.images.create(image=image())
        await stores.images.delete(name="a", sync=True)
        assert stores.gc.runs == 1
        with pytest.raises(NotFound):
            await stores.images.delete(name="a", sync=True)
        assert stores.gc.runs == 1


async def test_a_synchronous_delete_without_a_policy_deletes_nothing(
    stores: Stand,
) -> None:
    stores.without_gc()
    with call.using(namespace="ns"):
        await stores.images.create(image=image())
        with pytest.raises(
            FailedPrecondition, match=r'^image "a": sync needs a garbage'
        ):
            await stores.images.delete(name="a", sync=True)
        await stores.images.get(name="a")
        await stores.images.delete(name="a")
