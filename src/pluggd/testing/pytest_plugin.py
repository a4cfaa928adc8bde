# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Fixtures for those who test a plugin of theirs against a real daemon.

Loaded by pytest for whoever has pluggd installed, so it imports nothing until a fixture
is asked for. The fixtures are asynchronous: they need pytest-trio.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pluggd.testing.daemon import RunningDaemon


@pytest.fixture
def pluggd_config() -> Any:
    """The configuration of `pluggd_daemon`: text or nested dicts. Override it."""
    return ""


@pytest.fixture
async def pluggd_daemon(
    tmp_path: Path, pluggd_config: Any
) -> AsyncGenerator[RunningDaemon]:
    """A daemon in this process, with all bundled plugins."""
    from pluggd.testing.daemon import running_daemon

    async with running_daemon(tmp_path / "pluggd", pluggd_config) as running:
        yield running


@pytest.fixture
async def pluggd_client(pluggd_daemon: RunningDaemon) -> AsyncGenerator[Any]:
    """A client of `pluggd_daemon` in the namespace `default`."""
    async with pluggd_daemon.client(namespace="default") as client:
        yield client
