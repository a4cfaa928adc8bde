# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The form of event topics."""

from __future__ import annotations

import pytest

from pluggd.errors import InvalidArgument
from pluggd.model.identifiers import PATTERN
from pluggd.model.topics import validate_topic


@pytest.mark.parametrize(
    "topic", ["/images/create", "/a", "/a/b.c/d-e", "/tasks/exec_x"]
)
def test_good_topics(topic: str) -> None:
    validate_topic(topic)


@pytest.mark.parametrize(
    ("topic", "message"),
    [
        ("", "topic must not be empty"),
        ("images", 'topic "images" must start with "/"'),
        ("/", 'topic "/" must have at least one component'),
        ("/a/", 'topic "/a/": component "": identifier must not be empty'),
        ("//a", 'topic "//a": component "": identifier must not be empty'),
        (
            "/a/b c",
            f'topic "/a/b c": component "b c": identifier "b c" must match {PATTERN}',
        ),
    ],
)
def test_bad_topics_name_the_part(topic: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        validate_topic(topic)
    assert str(caught.value) == f"{message}: invalid argument"
