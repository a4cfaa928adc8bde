# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How the log is kept short: by number, by age, by bytes."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from pluggd.errors import InvalidArgument, ResourceExhausted
from pluggd.services.metadata import METADATA, Metadata, Transaction
from pluggd.testing import started
from pluggd.testing.conformance.events import EventsStand
from pluggd.testing.memory import memory_metadata
from plugins.events.config import Config, limits
from plugins.events.registration import pluggd_register
from plugins.events.retention import OUTLINE, SEGMENT, Limits, Retention, Segments

HOUR = 3600
NS = 1_000_000_000
NONE = Limits(0, 0, 0)


@asynccontextmanager
async def events_over(
    metadata: Metadata, config: Config
) -> AsyncGenerator[EventsStand]:
    kinds = {METADATA: metadata}
    with trio.fail_after(10_000):
        async with started(pluggd_register(), kinds, config) as (events, _):
            await wait_all_tasks_blocked()
            yield EventsStand(events, metadata)


async def bounds(stand: EventsStand) -> tuple[int, int]:
    await wait_all_tasks_blocked()
    found = await stand.events.bounds()
    return found.first, found.last


def segments(count: int, *, size: int = 1, newest: int = 0) -> Segments:
    made = Segments()
    for seq in range(1, count + 1):
        made.add(seq, size, newest + seq)
    return made


def test_segments_that_are_too_old_expire() -> None:
    outline = segments(3 * SEGMENT)
    age = Limits(0, max_age=1, max_bytes=0)
    assert outline.expired(age, now=NS + SEGMENT) == 0
    assert outline.expired(age, now=NS + SEGMENT + 1) == SEGMENT
    assert outline.expired(age, now=9 * NS) == 3 * SEGMENT
    assert outline.expired(NONE, now=9 * NS) == 0


def test_segments_expire_until_the_rest_is_small_enough() -> None:
    outline = segments(3 * SEGMENT, size=10)
    assert outline.size == 30 * SEGMENT
    most = Limits(0, 0, max_bytes=25 * SEGMENT)
    assert outline.expired(most, now=0) == SEGMENT
    outline.forget(SEGMENT)
    assert outline.size == 20 * SEGMENT
    assert outline.expired(most, now=0) == 0


async def test_more_events_than_allowed_are_trimmed_from_the_front() -> None:
    async with (
        memory_metadata() as metadata,
        events_over(metadata, Config(max_events=20)) as stand,
    ):
        for n in range(100):
            await stand.publish(str(n))
        first, last = await bounds(stand)
        assert last == 100
        assert 79 <= first <= 81
        page = await stand.events.poll(since=0)
        assert page.gap is not None
        assert (page.gap.first, page.gap.last) == (1, first - 1)
        assert page.events[0].seq == first


async def test_a_log_over_its_limit_is_trimmed_at_the_start() -> None:
    async with memory_metadata() as metadata:
        async with events_over(metadata, Config()) as stand:
            for n in range(100):
                await stand.publish(str(n))
        async with events_over(metadata, Config(max_events=10)) as stand:
            assert await bounds(stand) == (91, 100)


async def test_old_events_go_without_any_new_one(autojump_clock: MockClock) -> None:
    async with memory_metadata() as metadata:
        old = time.time_ns() - 2 * HOUR * NS
        async with events_over(metadata, Config()) as stand:
            for _ in range(3):
                await metadata.update(
                    lambda txn: txn.append_event(
                        timestamp=old,
                        namespace="ns",
                        topic="/a",
                        type_url="",
                        value=None,
                    )
                )
        async with events_over(metadata, Config(max_age="3h")) as stand:
            assert await bounds(stand) == (1, 3)
        async with events_over(metadata, Config(max_age="1h")) as stand:
            assert await bounds(stand) == (4, 3)


def old_events(txn: Transaction) -> None:
    for _ in range(2 * OUTLINE):
        txn.append_event(
            timestamp=1, namespace="ns", topic="/a", type_url="", value=None
        )


async def test_events_that_tell_of_old_times_take_no_new_ones_with_them() -> None:
    """Forwarded ones: the log ages by when they came, also after a restart."""
    async with memory_metadata() as metadata:
        async with events_over(metadata, Config()) as stand:
            for _ in range(OUTLINE // 2):
                await stand.publish("new")
            await metadata.update(old_events)
        async with events_over(metadata, Config(max_age="1h")) as stand:
            assert await bounds(stand) == (1, OUTLINE // 2 + 2 * OUTLINE)


async def test_an_event_from_the_future_does_not_stop_the_log_from_ageing() -> None:
    async with memory_metadata() as metadata:
        await metadata.update(
            lambda txn: txn.append_event(
                timestamp=2**62, namespace="ns", topic="/a", type_url="", value=None
            )
        )
        retention = Retention(
            metadata,
            Limits(0, max_age=1, max_bytes=0),
            trimmed=lambda first: None,
            log=logging.LoggerAdapter(logging.getLogger("test")),
        )
        outline = await retention.outline()
        assert outline.expired(Limits(0, 1, 0), time.time_ns() + 2 * NS) == 1


async def test_a_log_that_is_too_large_is_trimmed(autojump_clock: MockClock) -> None:
    config = Config(max_bytes=200_000)
    async with memory_metadata() as metadata, events_over(metadata, config) as stand:
        for n in range(5 * SEGMENT):
            await stand.publish(f"{n:0100}")
        first, last = await bounds(stand)
        assert last == 5 * SEGMENT
        assert last - first < 2 * SEGMENT


async def test_a_store_that_cannot_trim_now_is_asked_again(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with memory_metadata() as metadata:
        async with events_over(metadata, Config()) as stand:
            for n in range(30):
                await stand.publish(str(n))
        update = metadata.update
        with monkeypatch.context() as patch:

            async def full(*args: object, **kwargs: object) -> None:
                await trio.lowlevel.checkpoint()
                raise ResourceExhausted("disk full: resource exhausted")

            patch.setattr(metadata, "update", full)
            async with events_over(metadata, Config(max_events=10)) as stand:
                assert await bounds(stand) == (1, 30)
                patch.setattr(metadata, "update", update)
                await trio.sleep(61)
                assert await bounds(stand) == (21, 30)


def test_the_limits_are_read_from_the_options() -> None:
    assert limits(Config()) == Limits(100_000, 7 * 24 * HOUR, 64 * 1024 * 1024)
    assert limits(Config(max_events=-1, max_age="-1h", max_bytes=-1)) == NONE
    with pytest.raises(InvalidArgument, match='max_age: duration "soon"'):
        limits(Config(max_age="soon"))


async def test_other_limits_count_from_their_reload_on() -> None:
    with trio.fail_after(20):
        async with memory_metadata() as metadata:
            kinds = {METADATA: metadata}
            async with started(pluggd_register(), kinds, Config()) as (events, context):
                for number in range(20):
                    await metadata.update(emit(number))
                context.reload(Config(max_events=5, backlog_events=2))
                assert context.exports["max_events"] == "5"
                while (await events.bounds()).first < 16:  # noqa: ASYNC110 - the log has no waiters
                    await trio.sleep(0.001)
                page = await events.poll(since=15)
                assert [one.seq for one in page.events] == list(range(16, 21))


def emit(number: int) -> Callable[[Transaction], int]:
    return lambda txn: txn.emit("ns", "/test/made", "t", {"number": number})
