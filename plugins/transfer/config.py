# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The options of the transfer service, as an operator writes them."""

from __future__ import annotations

from pluggd.errors import InvalidArgument
from pluggd.model.record import Record


class Config(Record, frozen=True):
    """Section `[plugins."pluggd.transfer.v1.local"]` of config.toml."""

    chunk_size: int = 1 << 20
    """Bytes that are read, hashed and written at a time. Default 1 MiB."""

    max_json: int = 20 << 20
    """Bytes of index.json or manifest.json in an archive. Default 20 MiB."""

    max_manifest: int = 8 << 20
    """Bytes of one manifest, index or image configuration. Default 8 MiB."""

    max_entries: int = 100_000
    """Entries of one archive. Default 100000."""

    lease_expiry: int = 86_400
    """Seconds after which a transfer that died, and the begun blobs of a pull that did not
    come to its end, let go of what they hold. Default one day."""

    max_concurrent_downloads: int = 3
    """Blobs that are fetched at once, by all pulls together. Default 3."""

    max_concurrent_uploads: int = 3
    """Blobs that one push sends at once. Default 3."""

    def __post_init__(self) -> None:
        """Raises InvalidArgument naming the key, its value and its range."""
        for key in self.__struct_fields__:
            value = getattr(self, key)
            if value < 1:
                raise InvalidArgument(
                    f"{key} = {value}: must be at least 1: invalid argument"
                )
