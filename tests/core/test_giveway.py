# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""When the loop sleeps for the sake of threads, by a clock of the test's own."""

from __future__ import annotations

import pytest
import trio

from pluggd.core import giveway
from pluggd.core.giveway import EVERY, REST, GiveWay


class Clock:
    """Stands for `time`. slept: how often somebody did. tick: seconds by which it goes
    on each time that it is read."""

    def __init__(self) -> None:
        self.now = 1.0
        self.tick = 0.0
        self.slept = 0

    def perf_counter(self) -> float:
        self.now += self.tick
        return self.now

    def sleep(self, seconds: float) -> None:
        del seconds
        self.slept += 1


class Threads:
    def __init__(self) -> None:
        self.busy = True

    def __call__(self) -> bool:
        return self.busy


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(giveway, "time", clock)
    return clock


def test_a_loop_that_computes_sleeps_while_threads_have_work(clock: Clock) -> None:
    threads = Threads()
    give_way = GiveWay(threads)
    for _ in range(10):
        clock.now += EVERY * 1.1
        give_way()
        give_way()
    assert clock.slept == 10
    threads.busy = False
    clock.now += EVERY * 1.1
    give_way()
    assert clock.slept == 10


def test_a_loop_that_has_just_slept_by_itself_goes_on(clock: Clock) -> None:
    give_way = GiveWay(Threads())
    give_way()
    before = clock.slept
    clock.now += EVERY * 5
    give_way.before_io_wait(1)
    clock.now += REST * 1.1
    give_way.after_io_wait(1)
    give_way()
    assert clock.slept == before


def test_a_look_at_events_is_no_sleep(clock: Clock) -> None:
    give_way = GiveWay(Threads())
    give_way()
    before = clock.slept
    clock.now += EVERY * 5
    give_way.before_io_wait(0)
    clock.now += REST / 10
    give_way.after_io_wait(0)
    give_way()
    assert clock.slept == before + 1


async def test_trio_tells_it_when_the_loop_sleeps(clock: Clock) -> None:
    give_way = GiveWay(Threads())
    trio.lowlevel.add_instrument(give_way)
    try:
        clock.tick = REST * 1.1  # so that each wait of the loop takes as long
        clock.now += EVERY * 5
        await trio.lowlevel.checkpoint()
        give_way()
        assert clock.slept == 0
        clock.now += EVERY * 5
        give_way()
        assert clock.slept == 1
    finally:
        trio.lowlevel.remove_instrument(give_way)
