# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The options of the metadata store in SQLite, as an operator writes them."""

from __future__ import annotations

from pluggd.errors import InvalidArgument
from pluggd.model.record import Record

_SMALLEST_LOG = 64 << 10


class Config(Record, frozen=True):
    """Section `[plugins."pluggd.metadata.v1.sqlite"]` of config.toml."""

    log_bytes: int = 4 << 20
    """Bytes that the write-ahead log may have before its pages are moved into the
    database, at least 64 KiB. Default 4 MiB."""

    quota_bytes: int = 0
    """Bytes of records beyond which changes are refused, except those that free space.
    0, the default: no bound but the disk."""

    reserve_bytes: int = 8 << 20
    """Bytes of disk kept allocated in the log and as many behind the data, so that
    deletions and collection still work when the disk is full. 0: none. Default 8 MiB."""

    def __post_init__(self) -> None:
        """Raises InvalidArgument naming the key, its value and its range."""
        if self.log_bytes < _SMALLEST_LOG:
            raise InvalidArgument(
                f"log_bytes is {self.log_bytes}, it must be at least {_SMALLEST_LOG}"
            )
        for name in ("quota_bytes", "reserve_bytes"):
            if getattr(self, name) < 0:
                raise InvalidArgument(f"{name} is negative: use 0 for none")
