# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The options of collection by free space, as an operator writes them."""

from __future__ import annotations

import re

from pluggd.errors import InvalidArgument
from pluggd.model.durations import parse_duration
from pluggd.model.record import Record

from .policy import Mark, Settings

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(%|[kKMGT]?i?B?)")
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


class Config(Record, frozen=True):
    """Section `[plugins."pluggd.gc.v1.watermark"]` of config.toml."""

    start_below: str = "10%"
    """Collection starts when less than this is free: a share ("10%") or a size ("5GB",
    "5GiB")."""

    stop_above: str = "20%"
    """It goes on until this is free, or nothing is left to remove; as start_below. A
    smaller one counts as start_below."""

    path: str = ""
    """A path on the file system that is watched. Default: the root directory's."""

    check_interval: str = "30s"
    """How often free space is looked at, as a duration."""

    keep_for: str = "0s"
    """How long what nothing refers to any more is kept, even when space is short."""

    max_interval: str = "24h"
    """At the latest after this, everything that nothing refers to is collected, whatever
    is free and however new it is. "0s": never."""

    batch: int = 100
    """Objects that are removed between two looks at the free space. At least 1."""

    def __post_init__(self) -> None:
        """Raises InvalidArgument naming the key."""
        settings(self)


def settings(config: Config) -> Settings:
    """The policy's settings. Raises InvalidArgument naming the key."""
    if config.batch < 1:
        raise InvalidArgument(
            f"batch = {config.batch}: must be at least 1: invalid argument"
        )
    check_interval = _seconds("check_interval", config.check_interval)
    if check_interval <= 0:
        raise InvalidArgument(
            f'check_interval = "{config.check_interval}": must be more than 0:'
            " invalid argument"
        )
    return Settings(
        start_below=_mark("start_below", config.start_below),
        stop_above=_mark("stop_above", config.stop_above),
        check_interval=check_interval,
        keep_for=_seconds("keep_for", config.keep_for),
        max_interval=_seconds("max_interval", config.max_interval),
        batch=config.batch,
    )


def _mark(key: str, text: str) -> Mark:
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise InvalidArgument(
            f'{key} = "{text}": must be a share or a size, as in "10%" or "5GB":'
            " invalid argument"
        )
    value, unit = float(found[1]), found[2].lower().removesuffix("b")
    if unit != "%":
        return Mark(size=int(value * ({**_UNITS, **_BINARY}.get(unit, 1))))
    if value > 100:
        raise InvalidArgument(f'{key} = "{text}": is more than all: invalid argument')
    return Mark(percent=value)


def _seconds(key: str, text: str) -> float:
    try:
        return max(parse_duration(text), 0.0)
    except InvalidArgument as error:
        raise InvalidArgument(f"{key}: {error}") from None
