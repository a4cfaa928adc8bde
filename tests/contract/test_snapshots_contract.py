# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The contract of snapshots: drivers, the fake, and the service over each."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from pluggd.services.snapshots import Snapshots, Snapshotter
from pluggd.testing.conformance.snapshots import (
    SnapshotsConformance,
    SnapshotterConformance,
)
from tests.plugins.snapshots.snapshots_setup import driver_of, snapshot_service


class TestDrivers(SnapshotterConformance):
    @pytest.fixture(params=["fake", "native", "overlayfs"])
    async def snapshotter(
        self, request: pytest.FixtureRequest, tmp_path: Path
    ) -> Snapshotter:
        return await driver_of(request.param, tmp_path)


class TestServiceOverFake(SnapshotsConformance):
    driver = "fake"

    @pytest.fixture
    async def snapshots(self, tmp_path: Path) -> AsyncGenerator[Snapshots]:
        drivers = {self.driver: await driver_of(self.driver, tmp_path)}
        async with snapshot_service(tmp_path, drivers) as stand:
            yield stand.service


class TestServiceOverNative(TestServiceOverFake):
    driver = "native"


class TestServiceOverOverlayfs(TestServiceOverFake):
    driver = "overlayfs"
