# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Listings of any length in pages, over a client or in process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import trio

from pluggd.client import pages
from pluggd.client.paging import records
from pluggd.errors import ResourceExhausted
from pluggd.services.images import Image, ImageList

NAMES = [f"n{n:03}" for n in range(25)]


class Daemon:
    """A listing of NAMES, of which `most` fit a message; remembers what was asked."""

    def __init__(self, most: int = 100) -> None:
        self.most = most
        self.asked: list[tuple[int, str]] = []

    def page(self, limit: int, after: str) -> tuple[list[str], str]:
        self.asked.append((limit, after))
        if limit > self.most:
            raise ResourceExhausted("the result has too many bytes")
        left = [name for name in NAMES if name > after]
        return left[:limit], left[limit - 1] if len(left) > limit else ""

    async def list(
        self, *, filters: Sequence[str] = (), limit: int = 0, after: str = ""
    ) -> ImageList:
        await trio.lowlevel.checkpoint()
        names, next_ = self.page(limit, after)
        return ImageList(images=[Image(name=name) for name in names], next=next_)

    def answer(self, given: dict[str, Any]) -> dict[str, Any]:
        assert given["filters"] == ["f"]
        names, next_ = self.page(given["limit"], given.get("after", ""))
        return {"images": names, "next": next_} if next_ else {"images": names}


async def test_pages_follow_each_other_to_the_end() -> None:
    daemon = Daemon()
    found = [
        [image.name for image in page.images]
        async for page in pages(daemon.list, limit=10, filters=["f"])
    ]
    assert found == [NAMES[:10], NAMES[10:20], NAMES[20:]]
    assert daemon.asked == [(10, ""), (10, "n009"), (10, "n019")]


async def test_they_can_begin_anywhere() -> None:
    found = [page async for page in pages(Daemon().list, after="n022")]
    assert [image.name for image in found[0].images] == NAMES[23:]


def test_records_are_asked_for_when_they_are_needed() -> None:
    daemon = Daemon()
    found = records(daemon.answer, "images", {"filters": ["f"]}, 10)
    assert daemon.asked == []
    assert [next(found) for _ in range(10)] == NAMES[:10]
    assert len(daemon.asked) == 1
    assert list(found) == NAMES[10:]
    assert len(daemon.asked) == 3


async def test_pages_that_do_not_fit_a_message_become_smaller() -> None:
    daemon = Daemon(most=3)
    assert list(records(daemon.answer, "images", {"filters": ["f"]}, 20)) == NAMES
    assert [limit for limit, _ in daemon.asked[:4]] == [20, 10, 5, 2]
    daemon = Daemon(most=3)
    found = [
        image.name
        async for page in pages(daemon.list, limit=20)
        for image in page.images
    ]
    assert found == NAMES


async def test_a_record_that_fits_no_message_is_an_error() -> None:
    daemon = Daemon(most=0)
    with pytest.raises(ResourceExhausted):
        list(records(daemon.answer, "images", {"filters": ["f"]}))
    with pytest.raises(ResourceExhausted):
        await anext(pages(daemon.list))
