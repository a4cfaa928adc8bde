# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A blob that comes or goes as a stream."""

from __future__ import annotations

import os

import trio

from pluggd.errors import (
    FailedPrecondition,
)
from pluggd.services.content import Info
from pluggd.testing.conformance.base import IN_PROCESS, Conformance, needs
from pluggd.testing.conformance.content.kit import ContentStand, digest_of, refused


class Streams(Conformance):
    """A blob that comes or goes as a stream."""

    async def test_a_stream_becomes_a_blob_and_a_blob_a_stream(
        self, stand: ContentStand
    ) -> None:
        data = os.urandom(5 << 20)
        send, receive = trio.open_memory_channel[bytes](2)
        result: list[Info] = []

        async def take() -> None:
            expected = digest_of(data)
            result.append(
                await stand.content.ingest(
                    ref="r", total=len(data), expected=expected, source=receive
                )
            )

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(take)
                async with send:
                    for start in range(0, len(data), 300_000):
                        await send.send(data[start : start + 300_000])
        assert result[0].digest == digest_of(data)
        assert result[0].size == len(data)
        for offset, size in ((0, 0), (1000, 3 << 20), (len(data), 0)):
            out, back = trio.open_memory_channel[bytes](100)
            with trio.fail_after(10):
                await stand.content.fetch(
                    digest=result[0].digest, offset=offset, size=size, out=out
                )
            out.close()
            got = b"".join([item async for item in back])
            assert got == data[offset : offset + size if size else None]

    @needs(IN_PROCESS)
    async def test_a_stream_that_breaks_off_leaves_an_ingest(
        self, stand: ContentStand
    ) -> None:
        data = os.urandom(9 << 20)
        send, receive = trio.open_memory_channel[bytes](0)
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(
                    lambda: stand.content.ingest(ref="r", source=receive)
                )
                for start in range(0, 6 << 20, 1 << 20):
                    await send.send(data[start : start + (1 << 20)])
                nursery.cancel_scope.cancel()
        status = await stand.content.status(ref="r")
        assert 0 < status.offset < len(data)
        kept = status.offset
        result = await stand.content.write(
            ref="r",
            action="commit",
            offset=kept,
            data=data[kept:],
            expected=digest_of(data),
        )
        assert result.offset == len(data)

    async def test_a_stream_that_is_too_short_is_refused(
        self, stand: ContentStand
    ) -> None:
        send, receive = trio.open_memory_channel[bytes](2)
        await send.send(b"abc")
        send.close()
        with refused(FailedPrecondition, '"r" failed size validation: 3 != 4'):
            await stand.content.ingest(ref="r", total=4, source=receive)
        assert (await stand.content.status(ref="r")).offset == 3
