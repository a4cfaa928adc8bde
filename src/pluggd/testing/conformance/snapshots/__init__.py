# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The rules of `pluggd.snapshotter.v1` (drivers) and of `pluggd.snapshots.v1`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pytest

from pluggd.services.snapshots import Snapshots, Snapshotter
from pluggd.testing.conformance.base import Conformance, missing
from pluggd.testing.conformance.snapshots.concurrency import Concurrency
from pluggd.testing.conformance.snapshots.facade import ServiceAsDriver
from pluggd.testing.conformance.snapshots.files import Files
from pluggd.testing.conformance.snapshots.labels import Labels
from pluggd.testing.conformance.snapshots.naming import Naming

__all__ = ["SnapshotsConformance", "SnapshotterConformance"]


class SnapshotterConformance(Files, Naming, Labels, Concurrency):
    """What every driver, a provider of `pluggd.snapshotter.v1`, promises.

    Provide the fixture `snapshotter`: one without snapshots. The rules see files through
    `pluggd.mount.mounted`, so a driver whose mounts need privileges needs them here.
    """

    optional: ClassVar[Mapping[str, str]] = {
        **Conformance.optional,
        "hard_links": "two names of a file are two names of one file in a child too",
    }

    @pytest.fixture
    def snapshotter(self) -> Snapshotter:
        """The provider, empty. Yours to override."""
        missing(type(self), "snapshotter")


class SnapshotsConformance(SnapshotterConformance):
    """What every provider of `pluggd.snapshots.v1` promises, over one driver.

    Provide the fixture `snapshots`: a service without snapshots. driver: the id of the
    driver that is asked for; "" for the service's own choice.
    """

    driver: ClassVar[str] = ""

    @pytest.fixture
    def snapshots(self) -> Snapshots:
        """The provider, empty. Yours to override."""
        missing(type(self), "snapshots")

    @pytest.fixture
    def snapshotter(self, snapshots: Snapshots) -> Snapshotter:
        """The service as a driver: the rules are the same."""
        return ServiceAsDriver(snapshots, self.driver, "ns")
