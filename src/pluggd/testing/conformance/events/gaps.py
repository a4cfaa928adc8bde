# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the log no longer has is said exactly."""

from __future__ import annotations

from pluggd.services.events import EventItem, Gap
from pluggd.testing.conformance.base import Conformance, needs
from pluggd.testing.conformance.events.kit import (
    EventsStand,
    subscribed,
)


class Gaps(Conformance):
    """What the log no longer has is said exactly."""

    @needs("metadata_log")
    async def test_a_gap_says_exactly_what_was_missed(self, stand: EventsStand) -> None:
        for name in "abcde":
            await stand.publish(name)
        await stand.trim(4)
        async with subscribed(stand.events, since=1) as subscriber:
            assert await subscriber.item() == EventItem(gap=Gap(first=2, last=3))
            assert await subscriber.names(2) == ["d", "e"]

    @needs("metadata_log")
    async def test_a_log_trimmed_to_nothing_is_a_gap_up_to_the_last(
        self, stand: EventsStand
    ) -> None:
        for name in "abc":
            await stand.publish(name)
        await stand.trim(4)
        page = await stand.events.poll(since=0)
        assert (page.gap, page.events, page.next) == (Gap(first=1, last=3), [], 3)
        assert (await stand.events.poll(since=3)).gap is None
        await stand.publish("d")
        assert [one.seq for one in (await stand.events.poll(since=3)).events] == [4]

    @needs("metadata_log")
    async def test_a_filter_does_not_hide_a_gap(self, stand: EventsStand) -> None:
        for name in "abc":
            await stand.publish(name)
        await stand.trim(3)
        page = await stand.events.poll(since=0, filters=["event.name==nobody"])
        assert (page.gap, page.events, page.next) == (Gap(first=1, last=2), [], 3)
