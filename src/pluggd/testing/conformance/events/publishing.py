# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is accepted, and what is not."""

from __future__ import annotations

import pytest

from pluggd.errors import FailedPrecondition, InvalidArgument
from pluggd.model.types import Any
from pluggd.services.envelope import Envelope
from pluggd.testing.conformance.base import Conformance
from pluggd.testing.conformance.events.kit import (
    EventsStand,
)


class Publishing(Conformance):
    """What is accepted, and what is not."""

    async def test_published_events_have_their_place_time_and_namespace(
        self,
        stand: EventsStand,
    ) -> None:
        first = await stand.publish("a")
        second = await stand.publish("b", namespace="other")
        assert (first, second) == (1, 2)
        page = await stand.events.poll(since=0)
        assert [one.seq for one in page.events] == [1, 2]
        assert [one.namespace for one in page.events] == ["ns", "other"]
        assert page.events[0].topic == "/test/made"
        assert page.events[0].event == Any(type_url="test.Made", value={"name": "a"})
        assert 0 < page.events[0].timestamp <= page.events[1].timestamp

    async def test_publishing_needs_a_namespace(self, stand: EventsStand) -> None:
        with pytest.raises(FailedPrecondition, match="namespace is required"):
            await stand.events.publish(topic="/a", event=Any())
        with pytest.raises(InvalidArgument, match="namespace validation"):
            await stand.publish("a", namespace="bad ns!")

    async def test_a_bad_topic_is_refused_and_nothing_is_stored(
        self, stand: EventsStand
    ) -> None:
        for topic in ("", "/", "//", "/a/", "/a//b", "/a b", "a", "/a--b", "/tasks/?"):
            with pytest.raises(InvalidArgument, match="topic"):
                await stand.publish("a", topic=topic)
            with pytest.raises(InvalidArgument, match="topic"):
                await stand.events.forward(
                    envelope=Envelope(namespace="ns", timestamp=1, topic=topic)
                )
        bounds = await stand.events.bounds()
        assert (bounds.first, bounds.last) == (1, 0)

    async def test_a_forwarded_event_keeps_its_namespace_and_time(
        self, stand: EventsStand
    ) -> None:
        given = Envelope(
            seq=77,
            namespace="elsewhere",
            timestamp=123,
            topic="/far/away",
            event=Any(type_url="t", value={"n": [1, b"x"]}),
        )
        assert await stand.events.forward(envelope=given) == 1
        page = await stand.events.poll(since=0)
        assert page.events == [
            Envelope(
                seq=1,
                namespace="elsewhere",
                timestamp=123,
                topic="/far/away",
                event=given.event,
            )
        ]

    async def test_a_forwarded_event_without_time_or_namespace_is_refused(
        self,
        stand: EventsStand,
    ) -> None:
        with pytest.raises(InvalidArgument, match="timestamp must be set"):
            await stand.events.forward(envelope=Envelope(namespace="ns", topic="/a"))
        with pytest.raises(InvalidArgument, match="namespace"):
            await stand.events.forward(envelope=Envelope(timestamp=1, topic="/a"))
