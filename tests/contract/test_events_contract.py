# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The contract of `pluggd.events.v1`, on the log over each metadata store."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from pluggd.services.events import Events
from pluggd.services.metadata import METADATA, Metadata
from pluggd.testing import started
from pluggd.testing.conformance.events import EventsConformance
from plugins.events.config import Config
from plugins.events.registration import pluggd_register
from tests.contract.providers import PROVIDERS, metadata_of


class TestLog(EventsConformance):
    @pytest.fixture(params=PROVIDERS)
    async def metadata(
        self, request: pytest.FixtureRequest, tmp_path: Path
    ) -> AsyncGenerator[Metadata]:
        async with metadata_of(request.param, tmp_path) as metadata:
            yield metadata

    @pytest.fixture
    async def events(self, metadata: Metadata) -> AsyncGenerator[Events]:
        kinds = {METADATA: metadata}
        async with started(pluggd_register(), kinds, Config()) as (events, _):
            yield events
