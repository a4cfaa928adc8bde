# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The contract of content, on the bundled plugin over a bucket."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from itertools import count
from pathlib import Path

import pytest

from pluggd.services.content import Content
from pluggd.services.metadata import Metadata
from pluggd.testing.conformance.content import ContentConformance
from tests.plugins.content_s3.content_s3_setup import started_s3
from tests.plugins.content_s3.s3_server import S3Server, server
from tests.plugins.content_s3.swift_server import SwiftServer, swift

numbers = count()


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Generator[S3Server]:
    yield from server(tmp_path_factory.mktemp("s3") / "objects")


class TestS3(ContentConformance):
    @pytest.fixture
    async def content(
        self, s3: S3Server, metadata: Metadata, tmp_path: Path
    ) -> AsyncGenerator[Content]:
        if not s3.is_running:
            await s3.start()
        # One server for all rules, and a store of its own for each.
        async with started_s3(
            s3, tmp_path / "content", metadata, prefix=f"store-{next(numbers)}"
        ) as (content, _):
            yield content


@pytest.fixture(scope="module")
def openstack(tmp_path_factory: pytest.TempPathFactory) -> Generator[SwiftServer]:
    yield from swift(tmp_path_factory.mktemp("swift") / "swift")


class TestSwift(ContentConformance):
    """An object store that checks signatures."""

    @pytest.fixture
    async def content(
        self, openstack: SwiftServer, metadata: Metadata, tmp_path: Path
    ) -> AsyncGenerator[Content]:
        if not openstack.is_running:
            await openstack.start()
        async with started_s3(
            openstack, tmp_path / "content", metadata, prefix=f"store-{next(numbers)}"
        ) as (content, _):
            yield content
