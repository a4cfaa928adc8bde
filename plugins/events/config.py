# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The options of the event log, as an operator writes them."""

from __future__ import annotations

from pluggd.errors import InvalidArgument
from pluggd.model.durations import parse_duration
from pluggd.model.record import Record

from .retention import Limits


class Config(Record, frozen=True):
    """Section `[plugins."pluggd.events.v1.log"]` of config.toml."""

    max_events: int = 100_000
    """How many events the log keeps; the oldest go first. 0: any number."""

    max_age: str = "168h"
    """How long an event is kept, as a duration ("36h", "30m"). "0s": for ever."""

    max_bytes: int = 64 * 1024 * 1024
    """How large the log may become, in bytes, give or take a thousand events.
    0: any size."""

    backlog_events: int = 8192
    """How many of the newest events are held in memory for all subscribers together.
    One that falls further behind reads on from the log, at its own pace. At least 1."""

    backlog_bytes: int = 8 * 1024 * 1024
    """How many bytes these may have."""

    def __post_init__(self) -> None:
        """Raises InvalidArgument naming the key."""
        limits(self)
        if self.backlog_events < 1:
            raise InvalidArgument(
                f"backlog_events = {self.backlog_events}: must be at least 1: "
                f"invalid argument"
            )


def limits(config: Config) -> Limits:
    """What the log may hold. Raises InvalidArgument naming the key."""
    try:
        max_age = parse_duration(config.max_age)
    except InvalidArgument as error:
        raise InvalidArgument(f"max_age: {error}") from None
    return Limits(
        max_events=max(config.max_events, 0),
        max_age=max(max_age, 0.0),
        max_bytes=max(config.max_bytes, 0),
    )
