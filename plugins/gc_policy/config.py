# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The options of the collection schedule, as an operator writes them."""

from __future__ import annotations

from pluggd.errors import InvalidArgument
from pluggd.model.durations import parse_duration
from pluggd.model.record import Record

from .policy import Settings


class Config(Record, frozen=True):
    """Section `[plugins."pluggd.gc.v1.scheduler"]` of config.toml."""

    pause_threshold: float = 0.02
    """The share of the time in which writers may wait for collections, from 0 to 0.5;
    values outside count as the nearest of these. 0: do not adapt, look once a second."""

    deletion_threshold: int = 0
    """After how many changes since the first deletion a collection starts, without
    waiting for its turn. 0: deletions wait for the next turn."""

    mutation_threshold: int = 100
    """How many changes without a deletion make a turn collect. 0: they never do.
    Changes that were committed together count as one."""

    schedule_delay: str = "0ms"
    """How long after a request, or after the deletion threshold was reached, a collection
    starts, as a duration ("250ms", "1.5s"). "0ms": at once."""

    startup_delay: str = "100ms"
    """When the first collection starts after the daemon did, as a duration.
    "0ms": none is started; the first change that calls for one does."""

    full_interval: str = "24h"
    """A collection later than this after the last full one marks everything from the
    roots, which finds cycles and checks the index of references. "0s": only on request."""

    def __post_init__(self) -> None:
        """Raises InvalidArgument naming the key."""
        for key in ("schedule_delay", "startup_delay", "full_interval"):
            seconds(key, getattr(self, key))


def settings(config: Config) -> Settings:
    """The policy's settings. Raises InvalidArgument naming the key."""
    return Settings(
        pause_threshold=config.pause_threshold,
        deletion_threshold=config.deletion_threshold,
        mutation_threshold=config.mutation_threshold,
        schedule_delay=seconds("schedule_delay", config.schedule_delay),
        startup_delay=seconds("startup_delay", config.startup_delay),
    )


def seconds(key: str, text: str) -> float:
    """A duration of the configuration; a negative one counts as zero."""
    try:
        return max(parse_duration(text), 0.0)
    except InvalidArgument as error:
        raise InvalidArgument(f"{key}: {error}") from None
