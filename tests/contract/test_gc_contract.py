# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The contract of `pluggd.gc.v1`, on the scheduler over each metadata store."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from pluggd.services.gc import Gc
from pluggd.services.metadata import METADATA, Metadata
from pluggd.testing import started
from pluggd.testing.conformance.gc import GcConformance
from plugins.gc_policy.config import Config
from plugins.gc_policy.registration import pluggd_register
from tests.contract.providers import PROVIDERS, metadata_of

QUICK = Config(startup_delay="0ms", deletion_threshold=100)


class TestScheduler(GcConformance):
    @pytest.fixture(params=PROVIDERS)
    async def metadata(
        self, request: pytest.FixtureRequest, tmp_path: Path
    ) -> AsyncGenerator[Metadata]:
        async with metadata_of(request.param, tmp_path) as metadata:
            yield metadata

    @pytest.fixture
    async def gc(self, metadata: Metadata) -> AsyncGenerator[Gc]:
        kinds = {METADATA: metadata}
        async with started(pluggd_register(), kinds, QUICK) as (gc, _):
            yield gc


async def test_the_options_are_shown_as_they_count(tmp_path: Path) -> None:
    config = Config(pause_threshold=0.9, schedule_delay="-1s", startup_delay="1500ms")
    async with metadata_of("memory", tmp_path) as metadata:
        kinds = {METADATA: metadata}
        async with started(pluggd_register(), kinds, config) as (_, context):
            assert context.exports == {
                "pause_threshold": "0.5",
                "deletion_threshold": "0",
                "mutation_threshold": "100",
                "schedule_delay": "0s",
                "startup_delay": "1.5s",
                "full_interval": "24h",
            }
