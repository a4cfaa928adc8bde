# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A change whose event cannot be recorded does not happen.

That the event is missing when the change is refused would also hold for stores that
announce afterwards; this holds only where both are one transaction.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from pluggd.objects.transaction import ObjectTransaction
from pluggd.services import call
from pluggd.services.metadata import Metadata, View
from pluggd.services.namespaces import Namespace
from pluggd.testing.conformance.containers import container
from pluggd.testing.conformance.images import image
from pluggd.testing.memory import memory_metadata
from tests.contract.stand import Stand
from tests.plugins.content.content_setup import digest_of, started_content

EXPIRED = {"containerd.io/gc.expire": "2001-01-01T00:00:00Z"}
RECORDS = ("images", "containers", "namespaces")
BLOBS = ("content", "content_files")


class NoEvent(Exception):
    """What recording an event raises."""


def refuse(*_: object, **__: object) -> int:
    raise NoEvent


Change = Callable[[Stand], Awaitable[object]]
CHANGES: dict[str, Change] = {
    "create an image": lambda s: s.images.create(image=image("new")),
    "update an image": lambda s: s.images.update(image=image(label="1")),
    "delete an image": lambda s: s.images.delete(name="a"),
    "create a container": lambda s: s.containers.create(container=container("new")),
    "update a container": lambda s: s.containers.update(
        container=container(label="1"), fields=["labels"]
    ),
    "delete a container": lambda s: s.containers.delete(id="c"),
    "create a namespace": lambda s: s.namespaces.create(
        namespace=Namespace(name="new")
    ),
    "update a namespace": lambda s: s.namespaces.update(
        namespace=Namespace(name="empty", labels={"a": "1"})
    ),
    "delete a namespace": lambda s: s.namespaces.delete(name="empty"),
}


def everything(
    metadata: Metadata, tables: Sequence[str] = RECORDS
) -> list[tuple[object, ...]]:
    """All records and all events."""

    def read(view: View) -> list[tuple[object, ...]]:
        records = [
            (table, namespace, *pair)
            for table in tables
            for namespace in ("", "ns", "empty", "new")
            for pair in view.scan(table, namespace)
        ]
        return [*records, *view.events(0)]

    return metadata.read(read)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_no_store_changes_what_it_cannot_announce(
    stores: Stand, change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    with call.using(namespace="ns"):
        await stores.images.create(image=image())
        await stores.containers.create(container=container())
        await stores.namespaces.create(namespace=Namespace(name="empty"))
        before = everything(stores.metadata)
        with monkeypatch.context() as patch:
            patch.setattr(ObjectTransaction, "append_event", refuse)
            with pytest.raises(NoEvent):
                await change(stores)
        assert everything(stores.metadata) == before
        await change(stores)
        assert everything(stores.metadata) != before


async def test_a_collection_removes_nothing_that_it_cannot_announce(
    stores: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    with call.using(namespace="ns"):
        await stores.images.create(image=image(**EXPIRED))
        before = everything(stores.metadata)
        with monkeypatch.context() as patch:
            patch.setattr(ObjectTransaction, "append_event", refuse)
            with pytest.raises(Exception, match="could not be collected"):
                await stores.metadata.collect()
        assert everything(stores.metadata) == before
        await stores.metadata.collect()
        assert stores.events()[-1][1] == "/images/delete"


async def test_no_blob_comes_or_goes_unannounced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with memory_metadata() as metadata:
        with call.using(namespace="ns"):
            async with started_content(tmp_path, metadata) as content:
                await content.write(ref="r", action="commit", data=b"old")
                before = everything(metadata, BLOBS)
                with monkeypatch.context() as patch:
                    patch.setattr(ObjectTransaction, "append_event", refuse)
                    with pytest.raises(NoEvent):
                        await content.write(ref="r", action="commit", data=b"new")
                    with pytest.raises(NoEvent):
                        await content.delete(digest=digest_of(b"old"))
                assert everything(metadata, BLOBS) == before
                await content.delete(digest=digest_of(b"old"))
                assert everything(metadata, BLOBS) != before
