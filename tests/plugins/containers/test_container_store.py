# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Texts, events and references of the container store."""

from __future__ import annotations

import pytest

from pluggd.errors import InvalidArgument
from pluggd.model.record import encode, replace
from pluggd.model.types import Any
from pluggd.objects import pages
from pluggd.plugin import INLINE_ATTRIBUTE
from pluggd.services import call
from pluggd.services.containers import Container, ContainerList, Runtime
from pluggd.services.metadata import CONTAINER, CONTENT, Edge, Node
from pluggd.testing.conformance.containers import ONE, SPEC, container
from plugins.containers.store import ContainerStore
from tests.contract.stand import Stand

RUNC = Runtime(name="runc")
DIGEST = "sha256:" + "a" * 64
PATTERN = "^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$"

CREATE_ERRORS = {
    "no id": (
        Container(),
        "container.ID: identifier must not be empty: invalid argument",
    ),
    "bad id": (
        Container(id="a--b"),
        f'container.ID: identifier "a--b" must match {PATTERN}: invalid argument',
    ),
    "empty extension": (
        Container(id="c", extensions={"": ONE}),
        "container.Extension keys must not be zero-length: invalid argument",
    ),
    "empty extension without a value": (
        Container(id="c", extensions={"": Any()}),
        "container.Extension keys must not be zero-length: invalid argument",
    ),
    "long label": (
        Container(id="c", labels={"k": "v" * 5000}),
        "containers.Labels: label key and value length (5001 bytes) greater than "
        "maximum size (4096 bytes), key: k: invalid argument",
    ),
    "no runtime": (
        Container(id="c", spec=SPEC),
        "container.Runtime.Name must be set: invalid argument",
    ),
    "no spec": (
        Container(id="c", runtime=RUNC),
        "container.Spec must be set: invalid argument",
    ),
    "key without snapshotter": (
        Container(id="c", runtime=RUNC, spec=SPEC, snapshot_key="k"),
        "container.Snapshotter must be set if container.SnapshotKey is set: "
        "invalid argument",
    ),
    "bad snapshotter": (
        Container(id="c", runtime=RUNC, spec=SPEC, snapshotter="a/b"),
        f'container.Snapshotter: identifier "a/b" must match {PATTERN}: '
        "invalid argument",
    ),
}


@pytest.mark.parametrize("case", CREATE_ERRORS)
async def test_a_bad_container_is_refused_with_its_fault(
    case: str, stores: Stand
) -> None:
    asked, message = CREATE_ERRORS[case]
    with call.using(namespace="ns"):
        with pytest.raises(InvalidArgument) as caught:
            await stores.containers.create(container=asked)
        assert str(caught.value) == f"create container failed validation: {message}"
        assert (await stores.containers.list()).containers == []
    assert stores.events() == []


async def test_undecodable_text_is_refused(stores: Stand) -> None:
    asked = replace(container(), image="\udc80")
    with call.using(namespace="ns"), pytest.raises(InvalidArgument) as caught:
        await stores.containers.create(container=asked)
    assert str(caught.value) == 'container "c": text must be UTF-8: invalid argument'


UPDATE_ERRORS: dict[str, tuple[Container, list[str], str]] = {
    "no id": (Container(), [], "Container.ID required"),
    "runtime": (
        container(),
        ["runtime"],
        'cannot update "runtime" field on "c": invalid argument',
    ),
    "snapshotter": (
        container(),
        ["snapshotter"],
        'cannot update "snapshotter" field on "c": invalid argument',
    ),
    "a key of nothing": (
        container(),
        ["image.x"],
        'cannot update "image.x" field on "c": invalid argument',
    ),
    "other runtime": (
        replace(container(), runtime=Runtime(name="other")),
        [],
        "container.Runtime.Name field is immutable: invalid argument",
    ),
    "other runtime options": (
        replace(container(), runtime=Runtime(name="runc", options=ONE)),
        [],
        "container.Runtime.Options field is immutable: invalid argument",
    ),
    "other snapshotter": (
        replace(container(), snapshotter="other"),
        [],
        "container.Snapshotter field is immutable: invalid argument",
    ),
    "no spec": (
        Container(id="c"),
        ["spec"],
        "update failed validation: container.Spec must be set: invalid argument",
    ),
    "long label": (
        Container(id="c", labels={"k": "v" * 5000}),
        ["labels.k"],
        "update failed validation: containers.Labels: label key and value length "
        "(5001 bytes) greater than maximum size (4096 bytes), key: k: invalid argument",
    ),
}


@pytest.mark.parametrize("case", UPDATE_ERRORS)
async def test_a_bad_update_is_refused_with_its_fault(case: str, stores: Stand) -> None:
    asked, fields, message = UPDATE_ERRORS[case]
    with call.using(namespace="ns"):
        created = await stores.containers.create(container=container())
        with pytest.raises(InvalidArgument) as caught:
            await stores.containers.update(container=asked, fields=fields)
        assert str(caught.value) == message
        assert await stores.containers.get(id="c") == created


async def test_an_extension_without_a_value_is_absent(stores: Stand) -> None:
    with call.using(namespace="ns"):
        asked = replace(container(), extensions={"one": ONE, "nothing": Any()})
        created = await stores.containers.create(container=asked)
        assert created.extensions == {"one": ONE}
        asked = replace(container(), extensions={"one": Any()})
        changed = await stores.containers.update(
            container=asked, fields=["extensions.one"]
        )
        assert changed.extensions == {}


async def test_gets_and_lists_are_the_stored_bytes(
    stores: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "SLICE", 1 << 62)  # nobody else is to have a turn
    store = stores.containers
    assert isinstance(store, ContainerStore)
    with call.using(namespace="ns"):
        created = await store.create(container=container(k="v"))
        got = getattr(ContainerStore.get, INLINE_ATTRIBUTE)(store, id="c")
        assert got.data == encode(created)
        page = getattr(ContainerStore.list, INLINE_ATTRIBUTE)(store)
        assert page.data == encode(ContainerList(containers=[created]))


async def test_each_change_has_one_event(stores: Stand) -> None:
    with call.using(namespace="ns"):
        await stores.containers.create(container=container(k="v"))
        await stores.containers.update(container=container(k="w"))
        await stores.containers.delete(id="c")
    image = "docker.io/x:1"
    options = {"type_url": "o", "value": {"a": 1}}
    assert stores.events() == [
        (
            "ns",
            "/containers/create",
            "containerd.events.ContainerCreate",
            {
                "id": "c",
                "image": image,
                "runtime": {"name": "runc", "options": options},
            },
        ),
        (
            "ns",
            "/containers/update",
            "containerd.events.ContainerUpdate",
            {"id": "c", "image": image, "labels": {"k": "w"}, "snapshot_key": "key"},
        ),
        ("ns", "/containers/delete", "containerd.events.ContainerDelete", {"id": "c"}),
    ]


async def test_a_container_keeps_its_snapshot_and_what_its_labels_name(
    stores: Stand,
) -> None:
    node = Node(CONTAINER, "ns", "c")
    snapshot = Edge(Node("snapshot/native", "ns", "key"))
    labels = {"containerd.io/gc.ref.content": DIGEST}
    with call.using(namespace="ns"):
        await stores.containers.create(container=container(**labels))
        edges = stores.metadata.read(lambda view: view.edges(node))
        assert set(edges) == {snapshot, Edge(Node(CONTENT, "ns", DIGEST))}
        await stores.containers.update(container=container(), fields=["labels"])
        assert stores.metadata.read(lambda view: view.edges(node)) == [snapshot]
        await stores.containers.update(
            container=Container(id="c"), fields=["snapshot_key"]
        )
        assert stores.metadata.read(lambda view: view.edges(node)) == []
        await stores.containers.delete(id="c")
    assert not stores.metadata.read(lambda view: view.has_node(node))


async def test_a_container_is_never_collected(stores: Stand) -> None:
    with call.using(namespace="ns"):
        created = await stores.containers.create(container=container())
        assert (await stores.metadata.collect(full=True)).removed == {}
        assert await stores.containers.get(id="c") == created
