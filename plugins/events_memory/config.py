# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The options of the events in memory, as an operator writes them."""

from __future__ import annotations

from pluggd.errors import InvalidArgument
from pluggd.model.record import Record


class Config(Record, frozen=True):
    """Section `[plugins."pluggd.events.v1.memory"]` of config.toml."""

    max_events: int = 8192
    """How many of the newest events are held; the oldest go first. At least 1."""

    max_bytes: int = 8 * 1024 * 1024
    """How many bytes these may have. At least 1."""

    def __post_init__(self) -> None:
        """Raises InvalidArgument naming the key."""
        for key in ("max_events", "max_bytes"):
            value = getattr(self, key)
            if value < 1:
                raise InvalidArgument(
                    f"{key} = {value}: must be at least 1: invalid argument"
                )
