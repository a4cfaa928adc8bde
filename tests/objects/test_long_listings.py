# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A listing that takes long gives others their turn, and is whole all the same."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest
import trio

from pluggd.core.dispatch import Dispatcher
from pluggd.errors import InvalidArgument
from pluggd.model.types import Descriptor
from pluggd.objects import pages
from pluggd.objects.transaction import ObjectView
from pluggd.services import call
from pluggd.services.images import IMAGES, Image, ImageList
from pluggd.services.metadata import Transaction
from pluggd.testing.memory import MemoryMetadata
from pluggd.wire.encoder import encode_notification, encode_request
from plugins.images.store import TABLE, ImageStore
from tests.core.server_kit import Form, running

T = TypeVar("T")

COUNT = 10 * pages.BLOCK
NAMES = [f"image-{n:04}" for n in range(COUNT)]
HERE = {"namespace": "ns"}


class Counting(MemoryMetadata):
    """Counts reads, and calls `between` before each but the first."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.between: Callable[[], None] = lambda: None

    def read(self, function: Callable[[ObjectView], T]) -> T:
        self.reads += 1
        if self.reads > 1:
            self.between()
        return super().read(function)


@asynccontextmanager
async def images() -> AsyncGenerator[tuple[ImageStore, Counting]]:
    metadata = Counting()
    await metadata.open_table(TABLE)
    store = ImageStore(metadata, lambda: None)
    target = Descriptor(media_type="m/m", digest="sha256:" + "a" * 64, size=1)
    with call.using(namespace="ns"), trio.fail_after(20):
        for name in NAMES:
            await store.create(image=Image(name=name, target=target))
        metadata.reads = 0
        yield store, metadata


@pytest.fixture
def no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every slice ends with its first block."""
    monkeypatch.setattr(pages, "SLICE", 0)


def names(page: ImageList) -> list[str]:
    return [image.name for image in page.images]


async def test_one_that_is_done_in_time_is_one_read() -> None:
    async with images() as (store, metadata):
        assert names(await store.list(limit=pages.BLOCK)) == NAMES[: pages.BLOCK]
        assert metadata.reads == 1


async def test_others_have_their_turn_between_slices(no_time: None) -> None:
    async with images() as (store, metadata), trio.open_nursery() as nursery:
        turns = 0

        async def take_turns() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        nursery.start_soon(take_turns)
        assert names(await store.list()) == NAMES
        assert metadata.reads == 11
        assert turns >= 7
        nursery.cancel_scope.cancel()


async def test_a_filter_that_finds_little_is_sliced_as_well(no_time: None) -> None:
    async with images() as (store, metadata):
        page = await store.list(filters=["name~=/-0007|-0300/"], limit=2)
        assert (names(page), page.next) == (["image-0007", "image-0300"], "")
        assert metadata.reads > pages.BLOCK
        with pytest.raises(InvalidArgument):
            await store.list(filters=["name=="])


async def test_what_changes_meanwhile_is_seen_once_or_not_at_all(
    no_time: None,
) -> None:
    async with images() as (store, metadata):

        def change() -> None:
            metadata.between = lambda: None
            metadata.kv.delete(TABLE, b"ns\0" + NAMES[-1].encode())
            metadata.kv.delete(TABLE, b"ns\0" + NAMES[0].encode())
            metadata.kv.delete(TABLE, b"ns\0" + NAMES[pages.BLOCK - 1].encode())

        metadata.between = change
        assert names(await store.list()) == NAMES[:-1]


async def test_inside_a_transaction_it_is_one_piece(no_time: None) -> None:
    async with images() as (store, metadata):

        def change(txn: Transaction) -> list[str]:
            return names(txn.run(store.list()))

        assert await metadata.update(change) == NAMES


@pytest.mark.parametrize("form", ["epoll", "streams"])
async def test_other_calls_are_answered_meanwhile(
    form: Form, tmp_path: Path, no_time: None
) -> None:
    async with images() as (store, _):
        dispatcher = Dispatcher()
        dispatcher.add(IMAGES, store)
        async with running(form, tmp_path, dispatcher=dispatcher) as server:
            client = await server.connect()
            await client.send(
                encode_request(1, "images.v1.list", {}, HERE)
                + encode_request(2, "images.v1.get", {"name": NAMES[0]}, HERE)
            )
            found = [await client.response() for _ in range(2)]
            assert [one.msgid for one in found] == [2, 1]
            assert [one["name"] for one in found[1].result["images"]] == NAMES
            await server.settled()


async def test_a_long_one_can_be_cancelled(tmp_path: Path, no_time: None) -> None:
    async with images() as (store, metadata):
        dispatcher = Dispatcher()
        dispatcher.add(IMAGES, store)
        async with running("epoll", tmp_path, dispatcher=dispatcher) as server:
            client = await server.connect()
            await client.send(
                encode_request(1, "images.v1.list", {}, HERE)
                + encode_notification("$/cancel", [1])
            )
            error = (await client.response()).error
            assert error == "canceled: images.v1.list: canceled by the caller"
            await server.settled()
            assert metadata.reads < 11
