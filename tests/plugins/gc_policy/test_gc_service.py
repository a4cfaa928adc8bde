# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What `gc.v1.explain` accepts, and how the options are read."""

from __future__ import annotations

import pytest

from pluggd.collecting.service import validate_type
from pluggd.errors import InvalidArgument
from pluggd.services.metadata import ResourceType
from plugins.gc_policy.config import Config, settings
from plugins.gc_policy.policy import Settings

TYPES = [
    ResourceType("snapshot/", "snapshots"),
    ResourceType("content", "blobs"),
    ResourceType("image", "images"),
]


@pytest.mark.parametrize("type_", ["content", "image", "snapshot/native"])
def test_a_registered_type_is_accepted(type_: str) -> None:
    validate_type(type_, TYPES)


@pytest.mark.parametrize("type_", ["", "contents", "snapshot", "snapshot/", "conten"])
def test_another_type_is_refused_with_those_that_there_are(type_: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        validate_type(type_, TYPES)
    assert str(raised.value) == (
        f'unknown object type "{type_}": must be one of '
        "content, image, snapshot/<name>: invalid argument"
    )


def test_the_default_options_are_the_default_settings() -> None:
    assert settings(Config()) == Settings()


def test_a_negative_delay_counts_as_none() -> None:
    assert settings(Config(startup_delay="-3s")).startup_delay == 0


def test_a_delay_that_cannot_be_read_names_its_key() -> None:
    with pytest.raises(InvalidArgument) as raised:
        settings(Config(schedule_delay="soon"))
    assert str(raised.value).startswith('schedule_delay: duration "soon" must be')
