# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What each kind promises, as tests that run on any provider of it.

A suite is a class, its methods are the rules of the kind, their names say what they are.
Who provides the kind makes a class of it and overrides one fixture, named as the kind:

    class TestMine(ImagesConformance):
        @pytest.fixture
        async def images(self, metadata: Metadata) -> AsyncGenerator[Images]:
            kinds = {METADATA: metadata}
            async with started(pluggd_register(), kinds, NoConfig()) as (images, _):
                yield images

What a provider cannot do and need not is named with the reason, and its rules are
skipped: `lacks = {"history": "events are kept in memory"}` (`optional` of a suite has the
names). The rules need pytest and pytest-trio, and no other plugin of pytest.
"""

from __future__ import annotations

import pkgutil
from dataclasses import dataclass
from typing import Any

import pytest

# Before any module of rules is imported: a failed one is to show its values.
pytest.register_assert_rewrite(
    *(f"{__name__}.{module.name}" for module in pkgutil.iter_modules(__path__))
)

from pluggd.services.containers import CONTAINERS  # noqa: E402
from pluggd.services.content import CONTENT  # noqa: E402
from pluggd.services.diff import DIFF  # noqa: E402
from pluggd.services.events import EVENTS  # noqa: E402
from pluggd.services.gc import GC  # noqa: E402
from pluggd.services.images import IMAGES  # noqa: E402
from pluggd.services.kind import Kind  # noqa: E402
from pluggd.services.leases import LEASES  # noqa: E402
from pluggd.services.metadata import METADATA  # noqa: E402
from pluggd.services.namespaces import NAMESPACES  # noqa: E402
from pluggd.services.snapshots import SNAPSHOTS, SNAPSHOTTER  # noqa: E402
from pluggd.testing.conformance.base import Conformance, needs  # noqa: E402

__all__ = ["SUITES", "Conformance", "Where", "needs"]


@dataclass(frozen=True)
class Where:
    """Where the suite of a kind is: `from {module} import {suite}`, and the fixture that
    its user overrides."""

    module: str
    suite: str
    fixture: str


def _here(module: str, suite: str, fixture: str) -> Where:
    return Where(f"{__name__}.{module}", suite, fixture)


SUITES: dict[Kind[Any], Where] = {
    METADATA: _here("metadata", "MetadataConformance", "metadata"),
    CONTENT: _here("content", "ContentConformance", "content"),
    IMAGES: _here("images", "ImagesConformance", "images"),
    NAMESPACES: _here("namespaces", "NamespacesConformance", "namespaces"),
    LEASES: _here("leases", "LeasesConformance", "leases"),
    CONTAINERS: _here("containers", "ContainersConformance", "containers"),
    EVENTS: _here("events", "EventsConformance", "events"),
    GC: _here("gc", "GcConformance", "gc"),
    SNAPSHOTTER: _here("snapshots", "SnapshotterConformance", "snapshotter"),
    SNAPSHOTS: _here("snapshots", "SnapshotsConformance", "snapshots"),
    DIFF: _here("diff", "DiffConformance", "diff"),
}
"""The suite of each kind that has one."""
