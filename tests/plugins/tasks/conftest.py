# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A daemon that runs containers, once for each runtime that is here."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import trio

from pluggd.testing import RunningDaemon, running_daemon
from tests.plugins.tasks.kit import Kit, left_behind, make_rootfs, program, why_not


@pytest.fixture(scope="session")
def rootfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    reason = why_not("runc") and why_not("crun")
    if reason:
        pytest.skip(reason)
    return make_rootfs(tmp_path_factory.mktemp("rootfs"))


@pytest.fixture(params=["runc", "crun"])
def runtime(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    reason = why_not(request.param)
    if reason:
        pytest.skip(reason)
    return program(request.param, tmp_path)


@pytest.fixture
def config(runtime: str) -> dict[str, Any]:
    return {"plugins": {"pluggd.tasks.v1.oci": {"runtimes": [runtime]}}}


@pytest.fixture
async def daemon(
    tmp_path: Path, config: dict[str, Any], rootfs: Path
) -> AsyncGenerator[RunningDaemon]:
    """In this process. What its tasks leave behind fails the test."""
    with trio.fail_after(180):
        async with running_daemon(tmp_path / "d", config) as running:
            yield running
            async with running.client(namespace="default") as client:
                await Kit(client, rootfs).remove_all()
    assert left_behind(tmp_path / "d", f"t{os.getpid()}") == []


@pytest.fixture
async def kit(daemon: RunningDaemon, rootfs: Path) -> AsyncGenerator[Kit]:
    async with daemon.client(namespace="default") as client:
        yield Kit(client, rootfs)
