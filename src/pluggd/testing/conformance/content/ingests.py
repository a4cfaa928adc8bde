# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A blob that comes in steps, and what stays of it when one goes wrong."""

from __future__ import annotations

from pluggd.errors import (
    AlreadyExists,
    FailedPrecondition,
    NotFound,
    OutOfRange,
)
from pluggd.services.call import using
from pluggd.testing.conformance.base import Conformance
from pluggd.testing.conformance.content.kit import ContentStand, digest_of, put, refused


class Ingests(Conformance):
    """A blob that comes in steps, and what stays of it when one goes wrong."""

    async def test_an_ingest_grows_step_by_step(self, stand: ContentStand) -> None:
        content = stand.content
        first = await content.write(ref="r", action="stat", total=10)
        assert (first.offset, first.total, first.digest) == (0, 10, digest_of(b""))
        second = await content.write(ref="r", offset=0, data=b"hello")
        assert (second.offset, second.digest) == (5, digest_of(b"hello"))
        assert second.started_at == first.started_at > 0
        third = await content.write(ref="r", offset=5, data=b"world")
        assert (third.offset, third.total) == (10, 10)
        status = await content.status(ref="r")
        assert (status.ref, status.offset, status.total) == ("r", 10, 10)
        with refused(NotFound, ""):
            await content.info(digest=digest_of(b"helloworld"))
        done = await content.write(ref="r", action="commit", offset=10)
        assert done.digest == digest_of(b"helloworld")
        assert (await content.read(digest=done.digest)).data == b"helloworld"
        with refused(
            NotFound, 'could not get status for ref "r": reference r: not found'
        ):
            await content.status(ref="r")

    async def test_an_offset_in_between_is_refused_and_progress_kept(
        self,
        stand: ContentStand,
    ) -> None:
        content = stand.content
        await content.write(ref="r", data=b"hello")
        for offset in (3, 6):
            with refused(OutOfRange, f"write @{offset} must occur at current offset 5"):
                await content.write(ref="r", offset=offset, data=b"x")
        assert (await content.status(ref="r")).offset == 5

    async def test_an_offset_into_a_new_ingest_leaves_none(
        self, stand: ContentStand
    ) -> None:
        with refused(OutOfRange, "write @3 must occur at current offset 0"):
            await stand.content.write(ref="r", offset=3, data=b"x")
        assert (await stand.content.list_statuses()).statuses == []

    async def test_offset_zero_begins_anew(self, stand: ContentStand) -> None:
        content = stand.content
        await content.write(ref="r", data=b"hello")
        result = await content.write(ref="r", data=b"abc")
        assert (result.offset, result.digest) == (3, digest_of(b"abc"))
        done = await content.write(ref="r", action="commit", offset=0)
        assert done.digest == digest_of(b"")

    async def test_a_size_that_is_not_as_announced_is_refused_and_kept(
        self,
        stand: ContentStand,
    ) -> None:
        content = stand.content
        await content.write(ref="r1", data=b"0123456789", total=11)
        with refused(
            FailedPrecondition,
            '"r1" failed size validation: 10 != 11: failed precondition',
        ):
            await content.write(ref="r1", action="commit", offset=10)
        with refused(
            FailedPrecondition,
            '"r1" failed size validation: 10 != 9: failed precondition',
        ):
            await content.write(ref="r1", action="commit", offset=10, total=9)
        done = await content.write(ref="r1", action="commit", offset=10, total=10)
        assert done.digest == digest_of(b"0123456789")

    async def test_a_digest_that_is_not_as_expected_is_refused_and_kept(
        self,
        stand: ContentStand,
    ) -> None:
        content = stand.content
        expected = digest_of(b"abc")
        await content.write(ref="r", data=b"abx", expected=expected)
        with refused(FailedPrecondition, f"expected {expected}: failed precondition"):
            await content.write(ref="r", action="commit", offset=3)
        await content.write(ref="r", data=b"abc")
        done = await content.write(ref="r", action="commit", offset=3)
        assert done.digest == expected

    async def test_another_total_begins_anew(self, stand: ContentStand) -> None:
        content = stand.content
        await content.write(ref="r", data=b"hello", total=10)
        result = await content.write(ref="r", action="stat", total=20)
        assert (result.offset, result.total) == (0, 20)
        assert (await content.status(ref="r")).offset == 0

    async def test_an_expected_blob_that_appears_ends_the_ingest(
        self, stand: ContentStand
    ) -> None:
        content = stand.content
        expected = digest_of(b"hello")
        await content.write(ref="r", data=b"he", expected=expected)
        await put(stand, b"hello")
        with refused(AlreadyExists, f"blob with expected digest {expected} exists"):
            await content.write(ref="r", offset=2, data=b"llo")
        with refused(NotFound, "reference r: not found"):
            await content.status(ref="r")

    async def test_ingests_are_listed_by_ref(self, stand: ContentStand) -> None:
        content = stand.content
        long = "x" * 3000
        for ref in ("b", "a", long):
            await content.write(ref=ref, data=b"12")
        statuses = (await content.list_statuses()).statuses
        assert [status.ref for status in statuses] == ["a", "b", long]
        assert {status.offset for status in statuses} == {2}
        found = (await content.list_statuses(filters=["ref~=^b"])).statuses
        assert [status.ref for status in found] == ["b"]
        assert len((await content.list_statuses(filters=[""])).statuses) == 3

    async def test_an_aborted_ingest_is_gone(self, stand: ContentStand) -> None:
        content = stand.content
        await content.write(ref="r", data=b"12")
        await content.abort(ref="r")
        with refused(NotFound, "reference r: not found"):
            await content.abort(ref="r")
        assert (await content.write(ref="r", action="stat")).offset == 0

    async def test_one_ref_in_two_namespaces_is_two_ingests(
        self, stand: ContentStand
    ) -> None:
        content = stand.content
        await content.write(ref="r", data=b"one")
        with using(namespace="two"):
            await content.write(ref="r", data=b"second")
            assert (await content.status(ref="r")).offset == 6
        assert (await content.status(ref="r")).offset == 3
