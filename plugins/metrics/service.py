# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The service: the figures of the daemon, as text."""

from __future__ import annotations

from collections.abc import Sequence

from pluggd.services.daemon import Daemon

from .exposition import exposition


class MetricsService:
    """See `pluggd.services.metrics.Metrics`."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    async def text(self, *, names: Sequence[str] = ()) -> str:
        return exposition((await self._daemon.stats(names)).figures)
