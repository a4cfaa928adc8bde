# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Every provider of `pluggd.metadata.v1` keeps what the interface promises."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from pluggd.services.metadata import Metadata
from pluggd.testing import memory_metadata
from pluggd.testing.conformance.metadata import MetadataConformance
from tests.contract.fixtures import lmdb, sqlite


class TestMemory(MetadataConformance):
    @pytest.fixture
    async def metadata(self) -> AsyncGenerator[Metadata]:
        async with memory_metadata() as metadata:
            yield metadata


class TestLmdb(MetadataConformance):
    @pytest.fixture
    async def metadata(self, tmp_path: Path) -> AsyncGenerator[Metadata]:
        async with lmdb(tmp_path) as metadata:
            yield metadata


class TestSqlite(MetadataConformance):
    @pytest.fixture
    async def metadata(self, tmp_path: Path) -> AsyncGenerator[Metadata]:
        async with sqlite(tmp_path) as metadata:
            yield metadata
