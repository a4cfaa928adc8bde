# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The options of the diff service, as an operator writes them."""

from __future__ import annotations

from typing import Literal

from pluggd.errors import InvalidArgument
from pluggd.model.record import Record

GIB = 1 << 30


class Config(Record, frozen=True):
    """Section `[plugins."pluggd.diff.v1.walking"]` of config.toml."""

    max_layer_size: int = 128 * GIB
    """Bytes that one layer may have uncompressed, and that its sparse files may claim
    together; what decompresses to more is taken for a bomb. Default 128 GiB."""

    max_entries: int = 5_000_000
    """Files, directories and links of one layer. Default 5000000."""

    max_window: int = 27
    """The largest window of zstd, as a power of two from 10 to 31; decompressing takes
    that much memory. 27 (128 MiB) is what zstd itself makes at most unless it is told
    to. Default 27."""

    workers: int = 2
    """Processes that extract and compare at the same time; further calls wait. A process
    starts with the first call and ends when there is nothing to do. Default 2."""

    unprivileged: Literal["skip", "refuse"] = "skip"
    """What becomes of owners, devices and attributes that a daemon that is not root may
    not set: left out, with a line in the log ("skip"), or the layer is refused
    ("refuse"). Default "skip"."""

    def __post_init__(self) -> None:
        """Raises InvalidArgument naming the key, its value and its range."""
        for key in ("max_layer_size", "max_entries", "workers"):
            value = getattr(self, key)
            if value < 1:
                raise InvalidArgument(
                    f"{key} = {value}: must be at least 1: invalid argument"
                )
        if not 10 <= self.max_window <= 31:
            raise InvalidArgument(
                f"max_window = {self.max_window}: must be from 10 to 31: "
                "invalid argument"
            )
