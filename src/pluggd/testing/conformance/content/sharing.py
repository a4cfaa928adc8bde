# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Namespaces do not see each other, and may share bytes."""

from __future__ import annotations

from pluggd.errors import (
    NotFound,
)
from pluggd.services.call import using
from pluggd.testing.conformance.base import Conformance
from pluggd.testing.conformance.content.kit import ContentStand, digest_of, put, refused


class Sharing(Conformance):
    """Namespaces do not see each other, and may share bytes."""

    async def test_namespaces_do_not_see_each_other(self, stand: ContentStand) -> None:
        digest = await put(stand, b"x")
        with using(namespace="two"), refused(NotFound, "not found"):
            await stand.content.read(digest=digest)

    async def test_a_namespace_adopts_what_another_has(
        self, stand: ContentStand
    ) -> None:
        content = stand.content
        digest = await put(stand, b"hello")
        with using(namespace="two"):
            stat = await content.write(ref="r", action="stat", expected=digest)
            assert (stat.offset, stat.total, stat.digest) == (5, 5, digest)
            assert (await content.status(ref="r")).offset == 5
            with refused(NotFound, "not found"):
                await content.info(digest=digest)
            done = await content.write(
                ref="r", action="commit", offset=5, labels={"mine": "1"}
            )
            assert done.digest == digest
            assert (await content.info(digest=digest)).labels == {"mine": "1"}
        assert (await content.info(digest=digest)).labels == {}
        assert stand.events() == [
            ("one", "/content/create"),
            ("two", "/content/create"),
        ]

    async def test_a_commit_in_one_message_adopts(self, stand: ContentStand) -> None:
        digest = await put(stand, b"hello")
        with using(namespace="two"):
            done = await stand.content.write(ref="r", action="commit", expected=digest)
            assert (done.digest, done.offset) == (digest, 5)

    async def test_another_total_is_not_adopted(self, stand: ContentStand) -> None:
        digest = await put(stand, b"hello")
        with using(namespace="two"):
            stat = await stand.content.write(
                ref="r", action="stat", expected=digest, total=6
            )
            assert stat.offset == 0

    async def test_writing_to_an_adopted_blob_makes_it_an_own_one(
        self, stand: ContentStand
    ) -> None:
        content = stand.content
        digest = await put(stand, b"hello")
        with using(namespace="two"):
            await content.write(ref="r", action="stat", expected=digest)
            result = await content.write(ref="r", offset=5, data=b" world")
            assert (result.offset, result.digest) == (11, digest_of(b"hello world"))
            expected = digest_of(b"hello world")
            await content.write(ref="r", action="commit", offset=11, expected=expected)
            await content.write(ref="s", action="stat", expected=digest)
            result = await content.write(ref="s", data=b"bye")
            assert (result.offset, result.digest) == (3, digest_of(b"bye"))
        assert (await content.read(digest=digest)).data == b"hello"

    async def test_removal_in_one_namespace_leaves_the_other(
        self, stand: ContentStand
    ) -> None:
        content = stand.content
        digest = await put(stand, b"hello")
        with using(namespace="two"):
            await put(stand, b"hello", "two")
        await stand.keep(digest, "two")
        await content.delete(digest=digest)
        await stand.metadata.collect()
        with refused(NotFound, "not found"):
            await content.info(digest=digest)
        with using(namespace="two"):
            assert (await content.read(digest=digest)).data == b"hello"

    async def test_an_adoption_under_way_keeps_the_bytes(
        self, stand: ContentStand
    ) -> None:
        content = stand.content
        digest = await put(stand, b"hello")
        with using(namespace="two"):
            await content.write(ref="r", action="stat", expected=digest)
        await content.delete(digest=digest)
        await stand.metadata.collect()
        with using(namespace="two"):
            await content.write(ref="r", action="commit", offset=5)
            assert (await content.read(digest=digest)).data == b"hello"

    async def test_a_blob_that_nobody_has_is_not_adopted(
        self, stand: ContentStand
    ) -> None:
        digest = await put(stand, b"hello")
        await stand.content.delete(digest=digest)
        with using(namespace="two"):
            stat = await stand.content.write(ref="r", action="stat", expected=digest)
        assert stat.offset == 0
