# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The shared values, and the names of the daemon's own events."""

from __future__ import annotations

import msgpack
import pytest

from pluggd.model import events
from pluggd.model.events import ContainerCreate, ContainerRuntime, Event, ImageCreate
from pluggd.model.record import Record, decode, encode
from pluggd.model.topics import validate_topic
from pluggd.model.types import Any, Descriptor, Mount, Platform

OWN = [
    value
    for value in vars(events).values()
    if isinstance(value, type) and issubclass(value, Event) and value is not Event
]


@pytest.mark.parametrize(
    "value",
    [
        Descriptor(media_type="m", digest="d", size=3, annotations={"a": "b"}),
        Any(type_url="t", value={"x": [1, b"y", None]}),
        Mount(type="bind", source="/a", target="b", options=["ro"]),
        Platform(os="linux", architecture="arm", variant="v7", os_version="1"),
    ],
)
def test_a_value_keeps_all_its_fields(value: Record) -> None:
    assert decode(encode(value), type(value)) == value


@pytest.mark.parametrize("type_", [Descriptor, Any, Mount, Platform])
def test_a_value_that_says_nothing_is_an_empty_map(type_: type[Record]) -> None:
    assert encode(type_()) == b"\x80"


@pytest.mark.parametrize("event", OWN)
def test_an_event_knows_its_topic_and_type(event: type[Event]) -> None:
    validate_topic(event.TOPIC)
    thing, verb = event.TOPIC.strip("/").split("/")
    name = event.TYPE.rpartition(".")[2]
    assert name == event.__name__
    words = verb.replace("-", "")
    assert name.lower().removesuffix(words) == thing.removesuffix("s")


def test_no_two_events_share_a_name() -> None:
    assert len({event.TYPE for event in OWN}) == len(OWN) == 23
    assert len({event.TOPIC for event in OWN}) == len(OWN)


def test_topic_and_type_are_not_in_the_payload() -> None:
    payload = encode(ImageCreate(name="x", labels={"a": "b"}))
    assert msgpack.unpackb(payload) == {"name": "x", "labels": {"a": "b"}}


def test_a_payload_nests_as_filters_see_it() -> None:
    event = ContainerCreate(id="c", runtime=ContainerRuntime(name="runc"))
    assert msgpack.unpackb(encode(event)) == {"id": "c", "runtime": {"name": "runc"}}
