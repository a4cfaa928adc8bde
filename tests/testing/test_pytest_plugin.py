# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The fixtures for authors of plugins."""

from __future__ import annotations

import trio

from pluggd.client import Client
from pluggd.testing import RunningDaemon

# By import, so that it works the same where pluggd is installed (and its pytest plugin
# loaded by entry point) and where it is not.
from pluggd.testing.pytest_plugin import (
    pluggd_client,
    pluggd_config,
    pluggd_daemon,
)

__all__ = ["pluggd_client", "pluggd_config", "pluggd_daemon"]


async def test_the_client_talks_to_the_daemon(
    pluggd_daemon: RunningDaemon, pluggd_client: Client
) -> None:
    with trio.fail_after(10):
        server = await pluggd_client.introspection.server()
    assert server.address == str(pluggd_daemon.address)
    assert pluggd_client.namespace == "default"
