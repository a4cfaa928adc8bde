# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A blob that is read or written through a file descriptor."""

from __future__ import annotations

import mmap
import os

import pytest

from pluggd.errors import (
    FailedPrecondition,
)
from pluggd.testing.conformance.base import Conformance, needs
from pluggd.testing.conformance.content.kit import ContentStand, digest_of, put, refused


class Descriptors(Conformance):
    """A blob that is read or written through a file descriptor."""

    @needs("descriptors")
    async def test_a_blob_is_read_through_a_descriptor(
        self, stand: ContentStand
    ) -> None:
        digest = await put(stand, b"hello")
        opened = await stand.content.open(digest=digest)
        try:
            assert os.pread(opened.fd, 100, 0) == b"hello"
            assert opened.info.size == 5
            with pytest.raises(OSError, match=r"descriptor|permitted"):
                os.write(opened.fd, b"x")
        finally:
            os.close(opened.fd)

    @needs("descriptors")
    async def test_a_blob_is_written_through_a_descriptor(
        self, stand: ContentStand
    ) -> None:
        content = stand.content
        data = os.urandom(300_000)
        opened = await content.ingest_open(ref="r", total=len(data))
        assert opened.status.offset == 0
        os.write(opened.fd, data)
        with refused(FailedPrecondition, '"r" is still open for writing'):
            await content.write(ref="r", action="commit")
        assert (await content.status(ref="r")).offset == len(data)
        os.close(opened.fd)
        done = await content.write(ref="r", action="commit")
        assert (done.digest, done.offset) == (digest_of(data), len(data))
        assert (await content.verify(digest=done.digest)).size == len(data)

    @needs("descriptors")
    async def test_a_mapping_counts_as_a_writer(self, stand: ContentStand) -> None:
        opened = await stand.content.ingest_open(ref="r")
        os.write(opened.fd, bytes(4096))
        mapping = mmap.mmap(opened.fd, 4096)
        os.close(opened.fd)
        with refused(FailedPrecondition, '"r" is still open for writing'):
            await stand.content.write(ref="r", action="commit")
        mapping[0:1] = b"x"
        mapping.close()
        done = await stand.content.write(ref="r", action="commit")
        assert done.digest == digest_of(b"x" + bytes(4095))

    @needs("descriptors")
    async def test_an_ingest_with_a_descriptor_is_taken_up_again(
        self, stand: ContentStand
    ) -> None:
        content = stand.content
        opened = await content.ingest_open(ref="r")
        os.write(opened.fd, b"hello ")
        os.close(opened.fd)
        opened = await content.ingest_open(ref="r")
        assert opened.status.offset == 6
        os.write(opened.fd, b"w")
        os.close(opened.fd)
        result = await content.write(ref="r", offset=7, data=b"orl")
        assert result.offset == 10
        done = await content.write(ref="r", action="commit", offset=10, data=b"d")
        assert done.digest == digest_of(b"hello world")

    @needs("descriptors")
    async def test_a_wrong_digest_through_a_descriptor_is_kept(
        self, stand: ContentStand
    ) -> None:
        expected = digest_of(b"abc")
        opened = await stand.content.ingest_open(ref="r", expected=expected)
        os.write(opened.fd, b"abx")
        os.close(opened.fd)
        with refused(FailedPrecondition, f"expected {expected}: failed precondition"):
            await stand.content.write(ref="r", action="commit")
        opened = await stand.content.ingest_open(ref="r")
        os.pwrite(opened.fd, b"c", 2)
        os.close(opened.fd)
        done = await stand.content.write(ref="r", action="commit")
        assert done.digest == expected
