# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Who comes at the same time."""

from __future__ import annotations

import os

import trio
from trio.testing import wait_all_tasks_blocked

from pluggd.errors import (
    AlreadyExists,
    Unavailable,
)
from pluggd.services.call import using
from pluggd.testing.conformance.base import Conformance
from pluggd.testing.conformance.content.kit import ContentStand, digest_of, refused


class Concurrency(Conformance):
    """Who comes at the same time."""

    async def test_a_ref_has_one_writer_at_a_time(self, stand: ContentStand) -> None:
        content = stand.content
        send, receive = trio.open_memory_channel[bytes](0)
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: content.ingest(ref="r", source=receive))
                await wait_all_tasks_blocked()
                with refused(Unavailable, "ref one/1/r locked for "):
                    await content.write(ref="r", action="stat")
                with refused(Unavailable, ": unavailable"):
                    await content.abort(ref="r")
                with using(namespace="two"):
                    await content.write(ref="r", action="stat")
                await send.send(b"done")
                send.close()
        assert (await content.info(digest=digest_of(b"done"))).size == 4

    async def test_of_many_who_commit_one_blob_one_succeeds(
        self, stand: ContentStand
    ) -> None:
        data = os.urandom(100_000)
        outcomes: list[str] = []

        async def commit(number: int) -> None:
            try:
                await stand.content.write(ref=f"r{number}", action="commit", data=data)
                outcomes.append("ok")
            except AlreadyExists:
                outcomes.append("exists")

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                for number in range(8):
                    nursery.start_soon(commit, number)
        assert sorted(outcomes) == ["exists"] * 7 + ["ok"]
        assert (await stand.content.verify(digest=digest_of(data))).size == 100_000

    async def test_a_commit_calls_for_no_collection(self, stand: ContentStand) -> None:
        """Or it would remove the blob before anybody could refer to it."""
        await stand.lease("l")
        await stand.metadata.collect()
        heard: list[bool] = []
        stand.metadata.on_change(heard.append)
        for lease in ("", "l"):
            with using(namespace="one", lease=lease):
                expected = digest_of(f"abcd{lease}".encode())
                await stand.content.write(ref="r", data=b"ab", expected=expected)
                rest = f"cd{lease}".encode()
                await stand.content.write(ref="r", action="commit", offset=2, data=rest)
        assert heard
        assert not any(heard)
        with using(namespace="one", lease="l"):
            await stand.content.write(ref="r", data=b"ab")
            await stand.content.abort(ref="r")
        assert heard[-1]
