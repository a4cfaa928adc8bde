# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Figures for monitoring systems, in the form that they read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pluggd.services.kind import Kind
from pluggd.services.rpc import rpc


class Metrics(Protocol):
    @rpc(result="text", namespaced=False)
    async def text(self, *, names: Sequence[str] = ()) -> str:
        """All figures in Prometheus' text form, version 0.0.4, or those whose name in
        `introspection.v1.stats` begins with one of these."""
        ...


METRICS = Kind("pluggd.metrics.v1", Metrics)
