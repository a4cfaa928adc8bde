# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The contract of content, on the bundled plugin and on the fake."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from pluggd.testing.fake_content import fake_content
from pluggd.testing.memory import memory_metadata
from tests.plugins.content.content_setup import ON_DISK, started_content, started_lmdb

pytest.register_assert_rewrite("tests.contract.content_suite")

from tests.contract.content_suite import *  # noqa: E402, F403
from tests.contract.content_suite import Subject  # noqa: E402


@pytest.fixture(params=["fake", "local over memory", "local over lmdb"])
async def subject(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncGenerator[Subject]:
    if request.param == "local over lmdb":
        async with (
            started_lmdb(tmp_path / "metadata") as metadata,
            started_content(tmp_path / "content", metadata) as content,
        ):
            yield Subject(content, metadata)
        return
    async with memory_metadata() as metadata:
        if request.param == "fake":
            async with fake_content(metadata) as content:
                yield Subject(content, metadata)
        else:
            async with started_content(
                tmp_path / "content", metadata, ON_DISK
            ) as content:
                yield Subject(content, metadata)
