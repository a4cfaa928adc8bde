# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""For those who test a plugin, or with one: a real daemon, fakes, fixtures."""

from pluggd.testing.bundled import bundled
from pluggd.testing.daemon import RunningDaemon, running_daemon
from pluggd.testing.memory import MemoryMetadata, memory_metadata
from pluggd.testing.one_plugin import FakeContext, started

__all__ = [
    "FakeContext",
    "MemoryMetadata",
    "RunningDaemon",
    "bundled",
    "memory_metadata",
    "running_daemon",
    "started",
]
