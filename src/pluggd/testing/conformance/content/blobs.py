# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A blob that comes in one message."""

from __future__ import annotations

import pytest

from pluggd.errors import (
    AlreadyExists,
    FailedPrecondition,
    NotFound,
)
from pluggd.testing.conformance.base import Conformance
from pluggd.testing.conformance.content.kit import ContentStand, digest_of, put, refused


class Blobs(Conformance):
    """A blob that comes in one message."""

    async def test_a_blob_comes_back_as_it_was_committed(
        self, stand: ContentStand
    ) -> None:
        content = stand.content
        result = await content.write(ref="r", action="commit", data=b"hello")
        assert result.digest == digest_of(b"hello")
        assert (result.offset, result.total, result.action) == (5, 5, "commit")
        assert result.started_at > 0
        chunk = await content.read(digest=result.digest)
        assert (chunk.offset, chunk.data) == (0, b"hello")
        info = await content.info(digest=result.digest)
        assert (info.digest, info.size) == (result.digest, 5)
        assert info.created_at == info.updated_at > 0

    async def test_the_empty_blob_is_a_blob(self, stand: ContentStand) -> None:
        digest = await put(stand, b"")
        assert digest == digest_of(b"")
        assert (await stand.content.info(digest=digest)).size == 0
        assert (await stand.content.read(digest=digest)).data == b""

    async def test_a_commit_is_announced_with_its_change(
        self, stand: ContentStand
    ) -> None:
        digest = await put(stand, b"x")
        await stand.content.delete(digest=digest)
        assert stand.events() == [
            ("one", "/content/create"),
            ("one", "/content/delete"),
        ]

    async def test_labels_come_with_the_commit(self, stand: ContentStand) -> None:
        labels = {"a": "1", "empty": ""}
        result = await stand.content.write(
            ref="r", action="commit", data=b"x", labels=labels
        )
        info = await stand.content.info(digest=result.digest)
        assert info.labels == {"a": "1"}

    async def test_a_blob_that_is_there_is_refused(self, stand: ContentStand) -> None:
        digest = await put(stand, b"x")
        with refused(AlreadyExists, f"content {digest}: already exists"):
            await stand.content.write(ref="r", action="commit", data=b"x")
        with refused(AlreadyExists, f"content {digest}: already exists"):
            await stand.content.write(ref="r", action="stat", expected=digest)
        with refused(NotFound, "reference r: not found"):
            await stand.content.abort(ref="r")
        assert stand.events() == [("one", "/content/create")]

    @pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
    async def test_the_algorithm_is_that_of_the_expected_digest(
        self, stand: ContentStand, algorithm: str
    ) -> None:
        expected = digest_of(b"some bytes", algorithm)
        result = await stand.content.write(
            ref="r", action="commit", data=b"some bytes", expected=expected
        )
        assert result.digest == expected
        await stand.content.write(ref="s", data=b"other ")
        expected = digest_of(b"other bytes", algorithm)
        result = await stand.content.write(
            ref="s", action="commit", offset=6, data=b"bytes", expected=expected
        )
        assert result.digest == expected
        assert (await stand.content.verify(digest=expected)).size == 11

    async def test_a_blob_in_one_piece_with_a_wrong_digest_is_kept_as_an_ingest(
        self,
        stand: ContentStand,
    ) -> None:
        expected = digest_of(b"other")
        with refused(
            FailedPrecondition,
            f"unexpected commit digest {digest_of(b'hello')}, expected {expected}: "
            f"failed precondition",
        ):
            await stand.content.write(
                ref="r", action="commit", data=b"hello", expected=expected
            )
        status = await stand.content.status(ref="r")
        assert status.offset == 5
        result = await stand.content.write(ref="r", action="commit", offset=5)
        assert result.digest == digest_of(b"hello")
