# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The options of the unpack service, as an operator writes them."""

from __future__ import annotations

from pluggd.errors import InvalidArgument
from pluggd.model.record import Record


class Config(Record, frozen=True):
    """Section `[plugins."pluggd.unpack.v1.local"]` of config.toml."""

    lease_expiry: int = 86_400
    """Seconds after which an unpacking that died lets go of what it holds; at least 60.
    Default one day."""

    def __post_init__(self) -> None:
        """Raises InvalidArgument naming the key, its value and its range."""
        if self.lease_expiry < 60:
            raise InvalidArgument(
                f"lease_expiry = {self.lease_expiry}: must be at least 60 seconds: "
                "invalid argument"
            )
