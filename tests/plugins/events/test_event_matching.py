# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which fields of an event a filter can name."""

from __future__ import annotations

import pytest

from pluggd.exchange.matching import envelope_fields
from pluggd.model.events import ContainerCreate, ContainerRuntime
from pluggd.model.filters import parse_filters
from pluggd.model.record import decode, encode
from pluggd.model.types import Any
from pluggd.services.envelope import Envelope

VALUE = {
    "name": "docker.io/library/x:1",
    "labels": {"a.b/c": "dotted", "plain": "p", "runtime": "r"},
    "runtime": {"name": "runc"},
    "checkpoint": "",
    "terminal": True,
    "exit_status": 137,
    "blob": b"bytes",
    "many": [1],
}
EVENT = Envelope(
    seq=1,
    timestamp=1,
    namespace="ns",
    topic="/x/y",
    event=Any(type_url="t", value=VALUE),
)


def matches(text: str, envelope: Envelope = EVENT) -> bool:
    stored = encode(envelope)
    adaptor = envelope_fields(lambda: decode(stored, Envelope))
    return parse_filters([text]).match(adaptor)


@pytest.mark.parametrize(
    "text",
    [
        "namespace==ns",
        'topic=="/x/y"',
        "event.name",
        'event.name~="^docker.io/"',
        'event.labels."a.b/c"==dotted',
        "event.labels.plain==p",
        "event.runtime.name==runc",
        "event.terminal==true",
        "event.exit_status==137",
        "event.exit_status!=0",
    ],
)
def test_a_field_is_found(text: str) -> None:
    assert matches(text)


@pytest.mark.parametrize(
    "text",
    [
        "nosuch",
        "event",
        "topic.x",
        "event.nosuch",
        "event.checkpoint",  # an empty string is absent
        "event.blob",
        "event.many",
        "event.labels",
        "event.name.x",
        "event.labels.nosuch",
        "event.labels.plain.x",
    ],
)
def test_anything_else_is_absent(text: str) -> None:
    assert not matches(text)


def test_an_event_of_the_daemon_matches_as_containerds_does() -> None:
    event = ContainerCreate(
        id="c1", image="i", runtime=ContainerRuntime(name="io.containerd.runc.v2")
    )
    envelope = Envelope(topic=event.TOPIC, event=Any(type_url=event.TYPE, value=event))
    assert matches('topic=="/containers/create",event.id==c1', envelope)
    assert matches("event.runtime.name==io.containerd.runc.v2", envelope)


@pytest.mark.parametrize("value", [None, "text", 7, ["a"], {}])
def test_a_payload_of_any_shape_can_be_asked(value: object) -> None:
    envelope = Envelope(event=Any(type_url="t", value=value))
    assert not matches("event.name==x", envelope)
