# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is read, and what is refused."""

from __future__ import annotations

import os

import pytest
import trio

from pluggd.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    OutOfRange,
)
from pluggd.services.call import using
from pluggd.services.content import Info
from pluggd.testing.conformance.base import Conformance
from pluggd.testing.conformance.content.kit import ContentStand, digest_of, put, refused


class Reading(Conformance):
    """What is read, and what is refused."""

    async def test_offsets_of_a_read_count_from_the_start(
        self, stand: ContentStand
    ) -> None:
        digest = await put(stand, b"0123456789")
        read = stand.content.read
        chunk = await read(digest=digest, offset=3, size=4)
        assert (chunk.offset, chunk.data) == (3, b"3456")
        assert (await read(digest=digest, offset=8, size=100)).data == b"89"
        assert (await read(digest=digest, offset=10)).data == b""
        assert (await read(digest=digest, verify=True)).data == b"0123456789"
        with refused(OutOfRange, "read past object length 10 bytes"):
            await read(digest=digest, offset=11)

    async def test_a_big_blob_is_read_in_messages(self, stand: ContentStand) -> None:
        data = os.urandom((2 << 20) + 5)
        digest = await put(stand, data)
        got = b""
        while len(got) < len(data):
            chunk = await stand.content.read(digest=digest, offset=len(got))
            assert chunk.offset == len(got)
            assert 0 < len(chunk.data) <= 8 << 20
            got += chunk.data
        assert got == data

    @pytest.mark.parametrize(
        ("digest", "reason"),
        [
            ("zz", "invalid checksum digest format"),
            ("sha256:zz", "invalid checksum digest length"),
            ("md5:" + "0" * 32, "unsupported digest algorithm"),
            ("sha256:" + "A" * 64, "invalid checksum digest format"),
            ("", "invalid checksum digest format"),
        ],
    )
    async def test_what_is_no_digest_is_refused(
        self, stand: ContentStand, digest: str, reason: str
    ) -> None:
        content = stand.content
        for call in (
            lambda: content.info(digest=digest),
            lambda: content.read(digest=digest),
            lambda: content.open(digest=digest),
            lambda: content.verify(digest=digest),
            lambda: content.delete(digest=digest),
            lambda: content.update(info=Info(digest=digest)),
        ):
            with refused(InvalidArgument, reason):
                await call()

    async def test_a_blob_that_is_not_there_is_not_found(
        self, stand: ContentStand
    ) -> None:
        content = stand.content
        digest = digest_of(b"nothing")
        out, _ = trio.open_memory_channel[bytes](1)
        for call in (
            lambda: content.info(digest=digest),
            lambda: content.read(digest=digest),
            lambda: content.fetch(digest=digest, out=out),
            lambda: content.open(digest=digest),
            lambda: content.verify(digest=digest),
            lambda: content.delete(digest=digest),
            lambda: content.update(info=Info(digest=digest)),
        ):
            with refused(NotFound, f"content digest {digest}: not found"):
                await call()

    async def test_bad_arguments_of_an_ingest_are_refused(
        self, stand: ContentStand
    ) -> None:
        content = stand.content
        with refused(InvalidArgument, "first message must have a reference"):
            await content.write(ref="", data=b"x")
        with refused(InvalidArgument, "offset -1"):
            await content.write(ref="r", offset=-1)
        with refused(InvalidArgument, "total -1"):
            await content.write(ref="r", total=-1)
        with refused(InvalidArgument, "invalid checksum digest format"):
            await content.write(ref="r", action="stat", expected="zz")
        with refused(InvalidArgument, "greater than maximum size (4096 bytes)"):
            await content.write(
                ref="r", action="commit", data=b"x", labels={"k": "v" * 5000}
            )
        with refused(InvalidArgument, "offset -1"):
            await content.read(digest=await put(stand, b"y"), offset=-1)
        assert (await content.list_statuses()).statuses == []

    async def test_a_call_without_a_namespace_is_refused(
        self, stand: ContentStand
    ) -> None:
        with (
            using(namespace=""),
            refused(FailedPrecondition, "namespace is required: failed precondition"),
        ):
            await stand.content.list()
