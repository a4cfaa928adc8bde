# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Event topics: `/images/create`; every part between slashes is an identifier."""

from __future__ import annotations

from pluggd.errors import InvalidArgument
from pluggd.model.identifiers import validate_identifier


def validate_topic(topic: str) -> None:
    """Raises InvalidArgument naming the topic and the part that is wrong."""
    if not topic:
        raise InvalidArgument("topic must not be empty: invalid argument")
    if not topic.startswith("/"):
        raise InvalidArgument(f'topic "{topic}" must start with "/": invalid argument')
    if topic == "/":
        raise InvalidArgument(
            f'topic "{topic}" must have at least one component: invalid argument'
        )
    for part in topic[1:].split("/"):
        try:
            validate_identifier(part)
        except InvalidArgument as error:
            raise InvalidArgument(
                f'topic "{topic}": component "{part}": {error}'
            ) from None
