# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Events page by page, for who cannot hold a stream."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from pluggd.errors import InvalidArgument
from pluggd.testing.conformance.base import Conformance, needs
from pluggd.testing.conformance.events.kit import (
    EventsStand,
    name_of,
)


class Polling(Conformance):
    """Events page by page, for who cannot hold a stream."""

    @needs("history")
    async def test_polling_page_by_page_gives_every_event_once(
        self, stand: EventsStand
    ) -> None:
        for n in range(25):
            await stand.publish(str(n))
        seen: list[str] = []
        cursor = 0
        while (page := await stand.events.poll(since=cursor, limit=10)).events:
            assert len(page.events) <= 10
            seen += [name_of(one) for one in page.events]
            cursor = page.next
        assert seen == [str(n) for n in range(25)]
        assert page.next == cursor

    @needs("history")
    async def test_a_poll_moves_on_past_what_its_filter_leaves_out(
        self, stand: EventsStand
    ) -> None:
        for n in range(300):
            await stand.publish(str(n))
        page = await stand.events.poll(since=0, filters=["event.name==x"])
        assert (page.events, page.next) == ([], 300)

    async def test_a_poll_without_since_tells_where_to_begin(
        self, stand: EventsStand
    ) -> None:
        await stand.publish("a")
        page = await stand.events.poll()
        assert (page.events, page.next) == ([], 1)

    @needs("history")
    async def test_a_waiting_poll_returns_with_the_first_match(
        self, stand: EventsStand
    ) -> None:
        async with trio.open_nursery() as nursery:

            async def poll() -> None:
                page = await stand.events.poll(
                    since=0, wait=30, filters=["event.name==wanted"]
                )
                assert [name_of(one) for one in page.events] == ["wanted"]
                nursery.cancel_scope.cancel()

            nursery.start_soon(poll)
            await trio.testing.wait_all_tasks_blocked()
            await stand.publish("other")
            await trio.testing.wait_all_tasks_blocked()
            await stand.publish("wanted")
            await trio.sleep_forever()

    async def test_a_poll_with_bad_numbers_is_refused(self, stand: EventsStand) -> None:
        with pytest.raises(InvalidArgument, match="limit must not be negative"):
            await stand.events.poll(limit=-1)
        for wait in (-1.0, 60.5, float("inf"), float("nan")):
            with pytest.raises(InvalidArgument, match="wait must be"):
                await stand.events.poll(wait=wait)

    @needs("metadata_log")
    async def test_bounds_are_those_of_the_log(self, stand: EventsStand) -> None:
        for name in "abc":
            await stand.publish(name)
        await stand.trim(2)
        bounds = await stand.events.bounds()
        assert (bounds.first, bounds.last) == (2, 3)
