# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which suite of `pluggd.testing.conformance` belongs to which kind.

Apart from the suites, so that who only wants to know needs no pytest.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Where:
    """`from {module} import {suite}`, and the fixture that its user overrides."""

    module: str
    suite: str
    fixture: str


def _where(module: str, suite: str, fixture: str = "") -> Where:
    return Where(f"pluggd.testing.conformance.{module}", suite, fixture or module)


SUITES: dict[str, Where] = {
    "pluggd.metadata.v1": _where("metadata", "MetadataConformance"),
    "pluggd.content.v1": _where("content", "ContentConformance"),
    "pluggd.images.v1": _where("images", "ImagesConformance"),
    "pluggd.namespaces.v1": _where("namespaces", "NamespacesConformance"),
    "pluggd.leases.v1": _where("leases", "LeasesConformance"),
    "pluggd.containers.v1": _where("containers", "ContainersConformance"),
    "pluggd.events.v1": _where("events", "EventsConformance"),
    "pluggd.gc.v1": _where("gc", "GcConformance"),
    "pluggd.snapshotter.v1": _where(
        "snapshots", "SnapshotterConformance", "snapshotter"
    ),
    "pluggd.snapshots.v1": _where("snapshots", "SnapshotsConformance"),
    "pluggd.diff.v1": _where("diff", "DiffConformance"),
}
"""By the name of the kind."""
