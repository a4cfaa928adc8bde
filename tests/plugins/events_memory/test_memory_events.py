# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Events in memory: the contract, what stores emit, the ring's gaps, restarts, and a
daemon that is told to use them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import ClassVar

import pytest
import trio

from pluggd.errors import InvalidArgument
from pluggd.model.types import Any, Descriptor
from pluggd.services import call
from pluggd.services.envelope import Envelope
from pluggd.services.events import EventItem, Events, Gap
from pluggd.services.images import Image
from pluggd.services.metadata import METADATA, Metadata, Transaction
from pluggd.testing import running_daemon, started
from pluggd.testing.conformance.events import EventsConformance, EventsStand
from pluggd.testing.conformance.events.kit import name_of, subscribed
from plugins.events_memory.config import Config
from plugins.events_memory.registration import pluggd_register
from plugins.events_memory.ring import EPOCH
from tests.contract.providers import PROVIDERS, metadata_of


class TestMemory(EventsConformance):
    lacks: ClassVar[Mapping[str, str]] = {
        "metadata_log": "its history is a ring in memory; what is trimmed in the "
        "metadata store's log is told already",
    }

    @pytest.fixture(params=PROVIDERS)
    async def metadata(
        self, request: pytest.FixtureRequest, tmp_path: Path
    ) -> AsyncGenerator[Metadata]:
        async with metadata_of(request.param, tmp_path) as metadata:
            yield metadata

    @pytest.fixture
    async def events(self, metadata: Metadata) -> AsyncGenerator[Events]:
        kinds = {METADATA: metadata}
        async with started(pluggd_register(), kinds, Config()) as (events, _):
            yield events


@pytest.fixture
async def metadata(tmp_path: Path) -> AsyncGenerator[Metadata]:
    with trio.fail_after(30):
        async with metadata_of("lmdb", tmp_path) as metadata:
            yield metadata


async def emit(metadata: Metadata, name: str) -> None:
    await metadata.update(
        lambda txn: txn.emit("ns", "/test/made", "test.Made", {"name": name})
    )


async def test_what_stores_commit_comes_in_one_order_with_what_is_published(
    metadata: Metadata,
) -> None:
    kinds = {METADATA: metadata}
    async with started(pluggd_register(), kinds, Config()) as (events, _):
        stand = EventsStand(events, metadata)
        async with subscribed(events) as subscriber:
            await emit(metadata, "a")
            await stand.publish("b")
            await emit(metadata, "c")
            seen = [await subscriber.envelope() for _ in range(3)]
        assert [(one.seq, name_of(one)) for one in seen] == [
            (1, "a"),
            (2, "b"),
            (3, "c"),
        ]
        page = await events.poll(since=0)
        assert page.events == seen


async def test_what_was_rolled_back_is_never_seen(metadata: Metadata) -> None:
    kinds = {METADATA: metadata}
    async with started(pluggd_register(), kinds, Config()) as (events, _):

        async def publish(name: str) -> None:
            with call.using(namespace="ns"):
                event = Any(type_url="test.Made", value={"name": name})
                assert await events.publish(topic="/test/made", event=event) == 0

        def fail(txn: Transaction) -> None:
            txn.run(publish("ghost"))
            raise RuntimeError("changed my mind")

        with pytest.raises(RuntimeError, match="changed my mind"):
            await metadata.update(fail)
        await metadata.update(lambda txn: txn.run(publish("real")))
        page = await events.poll(since=0)
        assert [(one.seq, name_of(one)) for one in page.events] == [(1, "real")]


async def test_a_gap_says_exactly_what_has_left_the_ring(metadata: Metadata) -> None:
    config = Config(max_events=3)
    kinds = {METADATA: metadata}
    async with started(pluggd_register(), kinds, config) as (events, _):
        stand = EventsStand(events, metadata)
        for name in "abcde":
            await stand.publish(name)
        async with subscribed(events, since=1) as subscriber:
            assert await subscriber.item() == EventItem(gap=Gap(first=2, last=2))
            assert await subscriber.names(3) == ["c", "d", "e"]
        page = await events.poll(since=0, filters=["event.name==nobody"])
        assert (page.gap, page.events, page.next) == (Gap(first=1, last=2), [], 5)
        bounds = await events.bounds()
        assert (bounds.first, bounds.last) == (3, 5)
        assert (await events.poll(since=2)).gap is None


async def test_the_ring_is_bounded_by_bytes_as_well(metadata: Metadata) -> None:
    config = Config(max_bytes=1000)
    kinds = {METADATA: metadata}
    async with started(pluggd_register(), kinds, config) as (events, _):
        stand = EventsStand(events, metadata)
        for _ in range(50):
            await stand.publish("x" * 100)
        bounds = await events.bounds()
        assert 1 < bounds.last - bounds.first + 1 < 10


async def test_a_cursor_from_before_a_restart_is_told_a_gap(metadata: Metadata) -> None:
    kinds = {METADATA: metadata}
    async with started(pluggd_register(), kinds, Config()) as (events, _):
        stand = EventsStand(events, metadata)
        cursor = [await stand.publish(name) for name in "abc"][1]
    async with started(pluggd_register(), kinds, Config()) as (events, _):
        page = await events.poll(since=cursor)
        assert (page.gap, page.events) == (Gap(first=3, last=EPOCH), [])
        seq = await EventsStand(events, metadata).publish("d")
        assert seq == EPOCH + 1 == page.next + 1
        assert [
            name_of(one) for one in (await events.poll(since=page.next)).events
        ] == ["d"]


async def test_a_cursor_of_the_log_before_is_told_a_gap(metadata: Metadata) -> None:
    for name in "abc":
        await emit(metadata, name)
    kinds = {METADATA: metadata}
    async with started(pluggd_register(), kinds, Config()) as (events, _):
        page = await events.poll(since=1)
        assert (page.gap, page.next) == (Gap(first=2, last=3), 3)


async def test_the_log_of_the_metadata_store_is_emptied(metadata: Metadata) -> None:
    for _ in range(5):
        await emit(metadata, "old")
    kinds = {METADATA: metadata}
    async with started(pluggd_register(), kinds, Config()) as (events, _):
        with trio.fail_after(10):
            while metadata.read(lambda view: view.event_bounds()) != (6, 5):  # noqa: ASYNC110 - the log has no waiters
                await trio.sleep(0.001)
        await emit(metadata, "new")
        page = await events.poll(since=5)
        assert [(one.seq, name_of(one)) for one in page.events] == [(6, "new")]


async def test_what_cannot_be_encoded_is_refused_and_takes_no_number(
    metadata: Metadata,
) -> None:
    kinds = {METADATA: metadata}
    async with started(pluggd_register(), kinds, Config()) as (events, _):
        with call.using(namespace="ns"), pytest.raises(InvalidArgument):
            await events.publish(
                topic="/a", event=Any(type_url="t", value={"name": "\udc80"})
            )
        envelope = Envelope(timestamp=1, namespace="ns", topic="/a", seq=99)
        assert await events.forward(envelope=envelope) == 1


async def test_its_limits_change_while_it_runs(metadata: Metadata) -> None:
    kinds = {METADATA: metadata}
    async with started(pluggd_register(), kinds, Config()) as (events, context):
        stand = EventsStand(events, metadata)
        for name in "abcde":
            await stand.publish(name)
        context.reload(Config(max_events=2))
        assert context.exports["max_events"] == "2"
        bounds = await events.bounds()
        assert (bounds.first, bounds.last) == (4, 5)


TARGET = Descriptor(media_type="m", digest=f"sha256:{'a' * 64}", size=1)
SELECT = '[select]\nevents = "memory"\n'


async def test_a_daemon_uses_it_when_told_to(tmp_path: Path) -> None:
    with trio.fail_after(60):
        async with (
            running_daemon(tmp_path, SELECT) as daemon,
            daemon.client(namespace="default") as client,
        ):
            assert daemon.status("pluggd.events.v1.memory") == "ok"
            assert daemon.status("pluggd.events.v1.log") == "disabled"
            (info,) = [
                one
                for one in (await client.introspection.plugins()).plugins
                if one.uri == "pluggd.events.v1.memory"
            ]
            assert info.capabilities == ["not-durable"]
            since = (await client.events.bounds()).last
            await client.images.create(image=Image(name="a", target=TARGET))
            page = await client.events.poll(since=since)
            assert "/images/create" in [one.topic for one in page.events]
            (tmp_path / "config.toml").write_text("")
            await client.management.reload()
            assert daemon.status("pluggd.events.v1.log") == "ok"
            await client.images.delete(name="a")
            last = (await client.events.bounds()).last
            page = await client.events.poll(since=last - 1)
            assert "/images/delete" in [one.topic for one in page.events]
