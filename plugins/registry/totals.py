# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the resolver counts, for `pluggctl stats`."""

from __future__ import annotations

from pluggd.model.figures import Figure, counter
from pluggd.struct import Struct


class Totals(Struct):
    """Since the start of the plugin, over all registries. received: bytes of blobs."""

    requests: int = 0
    retries: int = 0
    logins: int = 0
    received: int = 0

    def figures(self) -> list[Figure]:
        return [
            counter(
                "registry_requests",
                "Requests to registries, redirects and retries among them.",
                self.requests,
            ),
            counter(
                "registry_retries",
                "Requests that had to be made again.",
                self.retries,
            ),
            counter(
                "registry_logins",
                "Times that a registry asked for a login and got one.",
                self.logins,
            ),
            counter(
                "registry_received_bytes",
                "Bytes of blobs that came, also those that were of no use.",
                self.received,
            ),
        ]
