# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Second implementations beside each other, by configuration alone: a daemon for each
combination does a real round over its socket, is restarted, and still says the truth.

All pairs are enough. Each implementation has its rules tested alone, so what is left to
go wrong is between two of them (who stands over whom, who tells whom), or between one
and the way in which it was chosen. Two meet in a transaction, in a collection or in an
order of start; there is no place where only three together make a case that none of
their pairs makes. Six daemons have all pairs, where all combinations would be 64.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Generator
from itertools import combinations
from pathlib import Path

import pytest
import trio

from pluggd.client import Client
from pluggd.errors import NotFound, PermissionDenied
from pluggd.model.record import Encoded
from pluggd.model.types import Any, Descriptor
from pluggd.services import call
from pluggd.services.envelope import Envelope
from pluggd.services.events import EventItem
from pluggd.services.images import Image
from pluggd.services.metadata import METADATA as METADATA_KIND
from pluggd.testing import RunningDaemon, running_daemon
from tests.e2e.combinations import COMBINATIONS, KINDS, Combination
from tests.plugins.content_s3.s3_server import S3Server, server

METADATA, CONTENT, EVENTS, GC, IMAGES = KINDS

KEPT, GONE = b"bytes that an image keeps" * 1000, b"bytes of a lease alone" * 1000
"""Too many to have no file."""

OURS = "registry.example/team/app:1"


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Generator[S3Server]:
    yield from server(tmp_path_factory.mktemp("s3") / "objects")


@pytest.fixture
async def bucket(s3: S3Server) -> S3Server:
    if not s3.is_running:
        await s3.start()
    return s3


def test_any_two_choices_meet_in_all_four_ways() -> None:
    rows = [tuple(vars(one).values()) for one in COMBINATIONS]
    for a, b in combinations(range(len(rows[0])), 2):
        assert len({(row[a], row[b]) for row in rows}) == 4


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Round:
    """What is done to one daemon; `before` is what its first life said of its events."""

    def __init__(self, combination: Combination, tmp_path: Path, s3: S3Server) -> None:
        self.combination = combination
        self.config = combination.config(tmp_path / "plugins.d", s3)
        self._root = tmp_path / "root"
        self._s3 = s3
        self.before: list[Envelope] = []

    def stored(self) -> set[str]:
        """The digests of all bytes that lie where this combination keeps them."""
        if self.combination.has(CONTENT):
            keys = self._s3.keys(str(self.combination))
        else:
            root = self._root / self.combination.uri(CONTENT) / "blobs"
            keys = [str(one) for one in root.rglob("*") if one.is_file()]
        return {f"sha256:{key.rpartition('/')[2]}" for key in keys}

    async def the_chosen_ones_serve(
        self, daemon: RunningDaemon, client: Client
    ) -> None:
        for kind in KINDS:
            info = await client.introspection.plugin(uri=self.combination.uri(kind))
            assert info.status == "ok", info.reason
            if not kind.decorates and self.combination.has(kind):
                first = f"{kind.kind}.{kind.first}"
                assert daemon.status(first) == "disabled"
                # Not even its directory was made.
                assert not (self._root / first).exists()
        assert (await client.gc.status()).policy == self.combination.id(GC)
        statistics = await client.get(METADATA_KIND).statistics()
        assert statistics.provider == self.combination.id(METADATA)
        events = await client.introspection.plugin(uri=self.combination.uri(EVENTS))
        durable = "not-durable" not in events.capabilities
        assert durable is not self.combination.has(EVENTS)

    async def write(self, client: Client) -> None:
        with call.using(lease="job"):
            await client.leases.create(id="job", labels={"why": "a round"})
            for data in (KEPT, GONE):
                await client.content.write(
                    ref=digest_of(data), action="commit", data=data, labels={"n": "1"}
                )
            target = Descriptor(
                media_type="application/x", digest=digest_of(KEPT), size=len(KEPT)
            )
            image = Image(name=OURS, target=target, labels={"owner": "team"})
            await client.images.create(image=image)
        await client.events.publish(
            topic="/round/over", event=Any(type_url="example.Round", value={"n": 1})
        )
        assert self.stored() == {digest_of(KEPT), digest_of(GONE)}

    async def the_rules_hold(self, client: Client) -> None:
        """Those that are put over the images, where they are."""
        target = Descriptor(
            media_type="application/x", digest=digest_of(KEPT), size=len(KEPT)
        )
        other = Image(name="elsewhere.example/app:1", target=target)
        if self.combination.has(IMAGES):
            with pytest.raises(PermissionDenied, match=r"not in allow"):
                await client.images.create(image=other)
        else:
            await client.images.create(image=other)
            await client.images.delete(name=other.name, sync=True)

    async def delete(self, client: Client) -> None:
        # The lease has it still.
        await client.gc.run(wait=True)
        assert (await client.content.read(digest=digest_of(GONE))).data == GONE
        await client.leases.delete(id="job", sync=True)
        with pytest.raises(NotFound):
            await client.content.info(digest=digest_of(GONE))
        assert self.stored() == {digest_of(KEPT)}

    async def still_true(self, client: Client) -> None:
        image = await client.images.get(name=OURS)
        assert (image.labels, image.target.digest) == (
            {"owner": "team"},
            digest_of(KEPT),
        )
        assert (await client.leases.list()).leases == []
        info = await client.content.info(digest=digest_of(KEPT))
        assert info.labels == {"n": "1"}
        assert (await client.content.read(digest=digest_of(KEPT))).data == KEPT
        assert (await client.content.verify(digest=digest_of(KEPT))).size == len(KEPT)
        assert self.stored() == {digest_of(KEPT)}

    async def events_as_promised(self, client: Client) -> None:
        page = await client.events.poll(since=0)
        if self.combination.has(EVENTS):
            # They were in memory; it says which ones nobody is told any more.
            assert page.gap is not None
            assert (page.gap.first, page.events) == (1, [])
            assert page.gap.last >= self.before[-1].seq
        else:
            assert page.events[: len(self.before)] == self.before
        number = await client.events.publish(
            topic="/round/again", event=Any(type_url="example.Round", value={"n": 2})
        )
        assert number > self.before[-1].seq

    async def gone_at_last(self, client: Client) -> None:
        await client.images.delete(name=OURS, sync=True)
        assert (await client.content.list()).infos == []
        assert self.stored() == set()


async def told(
    client: Client, until: str, work: Callable[[], Awaitable[None]]
) -> list[Envelope]:
    """What a subscriber is told while work is done, up to the first of this topic."""
    seen: list[Envelope] = []
    send, receive = trio.open_memory_channel[Encoded[EventItem]](100)
    start = (await client.events.bounds()).last
    async with trio.open_nursery() as nursery:

        async def follow() -> None:
            await client.events.subscribe(since=start, out=send)

        nursery.start_soon(follow)
        await work()
        async for item in receive:
            envelope = item.value.envelope
            assert envelope is not None
            seen.append(envelope)
            if envelope.topic == until:
                break
        nursery.cancel_scope.cancel()
    return seen


@pytest.mark.parametrize("combination", COMBINATIONS, ids=str)
async def test_a_round_and_a_restart(
    combination: Combination, tmp_path: Path, bucket: S3Server
) -> None:
    one = Round(combination, tmp_path, bucket)
    with trio.fail_after(60):
        async with (
            running_daemon(tmp_path, one.config) as daemon,
            daemon.client(namespace="one") as client,
        ):
            await one.the_chosen_ones_serve(daemon, client)
            seen = await told(client, "/round/over", lambda: one.write(client))
            assert [event.topic for event in seen] == [
                "/content/create",
                "/content/create",
                "/images/create",
                "/round/over",
            ]
            await one.the_rules_hold(client)
            gone = await told(client, "/content/delete", lambda: one.delete(client))
            assert gone[-1].event.value == {"digest": digest_of(GONE)}
            one.before = seen
        async with (
            running_daemon(tmp_path, one.config) as daemon,
            daemon.client(namespace="one") as client,
        ):
            await one.the_chosen_ones_serve(daemon, client)
            await one.still_true(client)
            await one.events_as_promised(client)
            await one.gone_at_last(client)
