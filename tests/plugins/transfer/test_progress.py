# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is told of a transfer: at least how each of its parts ended."""

from __future__ import annotations

import trio
import trio.testing

from pluggd.services.transfer import Progress
from plugins.transfer.progress import Reporter, reporting


async def test_the_last_states_are_told_also_when_a_telling_was_under_way(
    autojump_clock: trio.testing.MockClock,
) -> None:
    reporter, told = Reporter(), list[tuple[str, str]]()
    asked, may = trio.Event(), trio.Event()

    async def send(state: Progress) -> None:
        asked.set()
        await may.wait()
        told.append((state.name, state.event))

    async with reporting(reporter, send):
        for name in ("one", "two"):
            reporter.set("done", name)
        await asked.wait()
        may.set()
    assert told == [("one", "done"), ("two", "done")]


async def test_what_is_overtaken_while_it_is_told_is_told_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    reporter, told = Reporter(), list[tuple[str, str]]()

    async def send(state: Progress) -> None:
        await trio.lowlevel.checkpoint()
        if not told:
            reporter.set("done", "one")
            reporter.set("done", "two")
        told.append((state.name, state.event))

    async with reporting(reporter, send):
        reporter.set("begun", "one")
        reporter.set("begun", "two")
        await trio.sleep(1)
        assert told == [("one", "begun"), ("one", "done"), ("two", "done")]


async def test_who_does_not_listen_holds_the_end_up_for_a_moment_only(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def send(state: Progress) -> None:
        await trio.sleep_forever()

    reporter = Reporter()
    async with reporting(reporter, send):
        reporter.set("done", "one")
    assert trio.current_time() <= 5
