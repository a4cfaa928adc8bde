# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The options of the metadata store, as an operator writes them."""

from __future__ import annotations

from pluggd.errors import InvalidArgument
from pluggd.model.record import Record

_SMALLEST_MAP = 1 << 20


class Config(Record, frozen=True):
    """Section `[plugins."pluggd.metadata.v1.lmdb"]` of config.toml."""

    map_size: int = 1 << 40
    """Address space for the database, in bytes, at least 1 MiB; it takes no disk. It
    bounds the size of the file and cannot grow while the daemon runs. Default 1 TiB."""

    quota_bytes: int = 0
    """Bytes of records beyond which changes are refused, except those that free space.
    0, the default: no bound but the disk and map_size."""

    reserve_bytes: int = 8 << 20
    """Bytes of disk kept allocated ahead of the data, so that deletions and collection
    still work when the disk is full. 0: none. Default 8 MiB."""

    def __post_init__(self) -> None:
        """Raises InvalidArgument naming the key, its value and its range."""
        if self.map_size < _SMALLEST_MAP:
            raise InvalidArgument(
                f"map_size is {self.map_size}, it must be at least {_SMALLEST_MAP}"
            )
        for name in ("quota_bytes", "reserve_bytes"):
            if getattr(self, name) < 0:
                raise InvalidArgument(f"{name} is negative: use 0 for none")
