# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The contract of snapshots: drivers, the fake, and the service over each."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import trio

from pluggd.services.snapshots import Snapshotter
from tests.plugins.snapshots.snapshots_setup import driver_of, snapshot_service

pytest.register_assert_rewrite("tests.contract.snapshots_suite")

from tests.contract.snapshots_suite import (  # noqa: E402
    SUITE,
    Promise,
    ServiceAsDriver,
)

DRIVERS = ["fake", "native", "overlayfs"]


@pytest.fixture(params=[*DRIVERS, *(f"service over {name}" for name in DRIVERS)])
async def snapshots(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncGenerator[Snapshotter]:
    name = str(request.param).removeprefix("service over ")
    with trio.fail_after(60):
        driver = await driver_of(name, tmp_path)
        if name == request.param:
            yield driver
            return
        async with snapshot_service(tmp_path, {name: driver}) as stand:
            yield ServiceAsDriver(stand.service, name, "ns")


@pytest.mark.parametrize("promise", SUITE, ids=lambda promise: promise.__name__)
async def test_the_snapshotter_keeps_the_promise(
    promise: Promise, snapshots: Snapshotter
) -> None:
    await promise(snapshots)
