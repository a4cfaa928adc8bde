# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The contract of content, on the bundled plugin and on the fake."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from pluggd.services.content import Content
from pluggd.services.metadata import Metadata
from pluggd.testing.conformance.content import ContentConformance
from pluggd.testing.fake_content import fake_content
from plugins.content.config import Config
from tests.plugins.content.content_setup import ON_DISK, started_content, started_lmdb


class TestFake(ContentConformance):
    @pytest.fixture
    async def content(self, metadata: Metadata) -> AsyncGenerator[Content]:
        async with fake_content(metadata) as content:
            yield content


class TestLocal(ContentConformance):
    @pytest.fixture
    async def content(
        self, metadata: Metadata, tmp_path: Path
    ) -> AsyncGenerator[Content]:
        root = tmp_path / "content"
        async with started_content(root, metadata, ON_DISK) as content:
            yield content


class TestLocalOverLmdb(ContentConformance):
    @pytest.fixture
    async def metadata(self, tmp_path: Path) -> AsyncGenerator[Metadata]:
        async with started_lmdb(tmp_path / "metadata") as metadata:
            yield metadata

    @pytest.fixture
    async def content(
        self, metadata: Metadata, tmp_path: Path
    ) -> AsyncGenerator[Content]:
        async with started_content(tmp_path / "content", metadata, Config()) as content:
            yield content
