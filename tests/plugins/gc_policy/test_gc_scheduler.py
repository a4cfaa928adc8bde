# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The one task around the policy, on a clock that jumps, with a collector that counts."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from pluggd.errors import DataLoss, Unavailable
from pluggd.services.metadata import CollectStats
from plugins.gc_policy.policy import Settings
from plugins.gc_policy.scheduler import NS, Scheduler


class CountingCollector:
    """Each collection takes `duration` of trio's time; `failing` makes them fail."""

    def __init__(self) -> None:
        self.began: list[float] = []
        self.fulls: list[bool] = []
        self.duration = 0.01
        self.pause = 0.001
        self.failing: Exception | None = None
        self.expiry_at: float | None = None
        self.stuck = False  # what expired is not removed
        self._start = trio.current_time()

    async def collect(self, *, full: bool = False) -> CollectStats:
        self.began.append(round(trio.current_time() - self._start, 6))
        self.fulls.append(full)
        await trio.sleep(self.duration)
        if self.failing is not None:
            raise self.failing
        if not self.stuck:
            self.expiry_at = None
        return CollectStats(
            pause=int(self.pause * NS), examined=len(self.began), full=full
        )

    def next_expiry(self) -> int | None:
        if self.expiry_at is None:
            return None
        ahead = self._start + self.expiry_at - trio.current_time()
        return time.time_ns() + int(ahead * NS)


@asynccontextmanager
async def run(
    settings: Settings, *, full_interval: float = 0.0
) -> AsyncGenerator[tuple[Scheduler, CountingCollector]]:
    collector = CountingCollector()
    scheduler = Scheduler(
        collector,
        settings,
        log=logging.LoggerAdapter(logging.getLogger("test.gc")),
        full_interval=full_interval,
    )
    with trio.fail_after(100_000):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(scheduler.run_forever)
            await wait_all_tasks_blocked()
            yield scheduler, collector
            nursery.cancel_scope.cancel()


QUIET = Settings(startup_delay=0)


async def test_it_collects_once_after_start_and_then_sleeps(
    autojump_clock: MockClock,
) -> None:
    async with run(Settings()) as (_, collector):
        await trio.sleep(5000)
        assert collector.began == [0.1]


async def test_a_change_is_collected_at_the_next_tick(
    autojump_clock: MockClock,
) -> None:
    async with run(Settings()) as (scheduler, collector):
        await trio.sleep(0.2)
        scheduler.changed(True)
        await trio.sleep(10)
        # 5 ms at least of pause at 2 % are 245 ms, from the end of the first run.
        assert collector.began == [0.1, 0.355]


async def test_waiting_returns_what_the_collection_did(
    autojump_clock: MockClock,
) -> None:
    async with run(QUIET) as (scheduler, _):
        stats = await scheduler.collect()
        assert stats.examined == 1
        assert scheduler.status().last == stats
        assert scheduler.status().collections == 1


async def test_callers_who_wait_together_share_one_collection(
    autojump_clock: MockClock,
) -> None:
    async with run(QUIET) as (scheduler, collector):
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(scheduler.collect)
        assert len(collector.began) == 1


async def test_a_caller_during_a_collection_waits_for_the_next(
    autojump_clock: MockClock,
) -> None:
    async with run(QUIET) as (scheduler, collector):
        scheduler.request()
        await trio.sleep(collector.duration / 2)
        assert collector.began == [0.0]
        assert (await scheduler.collect()).examined == 2


async def test_a_change_during_a_collection_is_not_lost(
    autojump_clock: MockClock,
) -> None:
    async with run(QUIET) as (scheduler, collector):
        scheduler.request()
        await trio.sleep(collector.duration / 2)
        scheduler.changed(True)
        await trio.sleep(10)
        assert len(collector.began) == 2


async def test_a_cancelled_caller_leaves_nothing_behind(
    autojump_clock: MockClock,
) -> None:
    settings = Settings(startup_delay=0, schedule_delay=1.0)
    async with run(settings) as (scheduler, collector):
        with trio.move_on_after(0.1) as scope:
            await scheduler.collect()
        assert scope.cancelled_caught
        assert scheduler.waiting == 0
        await trio.sleep(5)
        assert len(collector.began) == 1  # what was asked for is done all the same


async def test_a_failure_reaches_those_who_wait_with_its_cause(
    autojump_clock: MockClock,
) -> None:
    async with run(QUIET) as (scheduler, collector):
        collector.failing = DataLoss("page 7 is torn")
        with pytest.raises(Unavailable) as raised:
            await scheduler.collect()
        assert str(raised.value) == (
            "garbage collection failed: page 7 is torn: unavailable"
        )
        assert scheduler.status().last_error == "page 7 is torn"
        assert scheduler.status().failures == 1


async def test_a_failed_collection_is_tried_again_until_it_works(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with run(QUIET) as (scheduler, collector):
        collector.failing = RuntimeError("a bug")
        scheduler.request()
        await trio.sleep(0.5)
        collector.failing = None
        await trio.sleep(100)
        assert collector.began == [0.0, 1.01]
        assert scheduler.status().last_error == ""
        assert "collection failed: a bug" in caplog.text
        assert caplog.records[0].exc_info is not None  # a bug shows where it is


async def test_what_expires_is_collected_without_any_change(
    autojump_clock: MockClock,
) -> None:
    async with run(Settings()) as (scheduler, collector):
        await trio.sleep(50)
        collector.expiry_at = 1000.0
        scheduler.changed(False)  # the commit that brought the lease
        await trio.sleep(900)
        assert collector.began == [0.1]
        await trio.sleep(200)
        assert len(collector.began) == 2
        assert collector.began[1] == pytest.approx(1000.0, abs=0.5)


async def test_an_expiry_that_stays_does_not_make_it_spin(
    autojump_clock: MockClock,
) -> None:
    async with run(Settings()) as (_, collector):
        collector.expiry_at = 1.0
        collector.stuck = True
        await trio.sleep(101)
        assert 100 < len(collector.began) < 450  # one per tick of 245 ms and no more


async def test_a_full_collection_is_run_when_asked_for(
    autojump_clock: MockClock,
) -> None:
    async with run(QUIET) as (scheduler, collector):
        await scheduler.collect()
        await scheduler.collect(full=True)
        await scheduler.collect()
        assert collector.fulls == [False, True, False]


async def test_a_full_collection_that_failed_is_full_again(
    autojump_clock: MockClock,
) -> None:
    async with run(QUIET) as (scheduler, collector):
        collector.failing = DataLoss("no")
        with pytest.raises(Unavailable):
            await scheduler.collect(full=True)
        collector.failing = None
        await trio.sleep(10)
        assert collector.fulls == [True, True]


async def test_after_the_full_interval_the_next_collection_is_full(
    autojump_clock: MockClock,
) -> None:
    async with run(QUIET, full_interval=3600) as (scheduler, collector):
        for _ in range(4):
            await trio.sleep(1000)
            await scheduler.collect()
        await scheduler.collect()
        assert collector.fulls == [False, False, False, True, False]


async def test_stopping_answers_those_who_wait(
    autojump_clock: MockClock,
) -> None:
    failures: list[Unavailable] = []

    async def wait_for_it(scheduler: Scheduler) -> None:
        try:
            await scheduler.collect()
        except Unavailable as error:
            failures.append(error)

    async with trio.open_nursery() as nursery, run(QUIET) as (scheduler, collector):
        collector.duration = 1000
        nursery.start_soon(wait_for_it, scheduler)
        await trio.sleep(1)
        nursery.start_soon(wait_for_it, scheduler)
        await trio.sleep(1)
    assert [str(error) for error in failures] == [
        "the collection scheduler has stopped: unavailable"
    ] * 2
    with pytest.raises(Unavailable):
        await scheduler.collect()


async def test_the_status_says_what_comes_next_and_why(
    autojump_clock: MockClock,
) -> None:
    async with run(Settings(startup_delay=0, schedule_delay=5.0)) as (
        scheduler,
        collector,
    ):
        await trio.sleep(1)
        scheduler.request()
        status = scheduler.status()
        ahead = (status.next_at - time.time_ns()) / NS
        assert ahead == pytest.approx(5.0, abs=0.5)
        assert status.reason == "a collection was requested"
        assert not status.running
        await trio.sleep(5.0 + collector.duration / 2)
        assert scheduler.status().running
        assert scheduler.status().reason == "a collection is running"


async def test_many_changes_cost_no_task_each(autojump_clock: MockClock) -> None:
    async with run(Settings()) as (scheduler, collector):
        await trio.sleep(1)
        for _ in range(100_000):
            scheduler.changed(True)
        await trio.sleep(100)
        assert len(collector.began) == 2
