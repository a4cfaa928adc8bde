# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Listings, filters and labels."""

from __future__ import annotations

from pluggd.errors import (
    InvalidArgument,
)
from pluggd.services.call import using
from pluggd.services.content import Info
from pluggd.testing.conformance.base import Conformance
from pluggd.testing.conformance.content.kit import ContentStand, put, refused


class Listings(Conformance):
    """Listings, filters and labels."""

    async def test_a_listing_is_in_order_of_the_digest_and_paged(
        self, stand: ContentStand
    ) -> None:
        digests = sorted([await put(stand, bytes([n])) for n in range(20)])
        everything = await stand.content.list()
        assert [info.digest for info in everything.infos] == digests
        assert everything.next == ""
        first = await stand.content.list(limit=7)
        assert [info.digest for info in first.infos] == digests[:7]
        assert first.next == digests[6]
        rest = await stand.content.list(limit=13, after=first.next)
        assert [info.digest for info in rest.infos] == digests[7:]
        assert rest.next == ""
        with using(namespace="two"):
            assert (await stand.content.list()).infos == []
        with refused(InvalidArgument, "limit -1"):
            await stand.content.list(limit=-1)

    async def test_filters_of_a_listing(self, stand: ContentStand) -> None:
        content = stand.content
        small = await put(stand, b"a")
        big = await put(stand, b"abc")
        await content.update(info=Info(digest=big, labels={"a.b.c": "x"}))

        async def found(*filters: str) -> set[str]:
            return {info.digest for info in (await content.list(filters=filters)).infos}

        assert await found(f"digest=={small}") == {small}
        assert await found("size==3") == {big}
        assert await found('labels."a.b.c"==x') == {big}
        assert await found("labels.a.b.c") == {big}
        assert await found("size==3", "size==1") == {big, small}
        assert await found("") == {big, small}
        assert await found("nosuch==1") == set()
        with refused(InvalidArgument, "filter"):
            await found("size==")

    async def test_labels_are_replaced_or_changed_by_key(
        self, stand: ContentStand
    ) -> None:
        content = stand.content
        digest = await put(stand, b"a")
        before = await content.info(digest=digest)
        info = await content.update(
            info=Info(digest=digest, labels={"a": "1", "b": "2"})
        )
        assert info.labels == {"a": "1", "b": "2"}
        assert info.created_at == before.created_at
        assert info.updated_at >= before.updated_at
        info = await content.update(
            info=Info(digest=digest, labels={"b": "3", "c": "4"}),
            fields=["labels.b", "labels.a"],
        )
        assert info.labels == {"b": "3"}
        assert await content.info(digest=digest) == info
        with refused(
            InvalidArgument,
            f'cannot update "size" field on content info "{digest}": invalid argument',
        ):
            await content.update(info=Info(digest=digest), fields=["size"])
        info = await content.update(info=Info(digest=digest))
        assert info.labels == {}
