# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The contract of content holds through a proxy, descriptors and streams included."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from pluggd.services import content as service
from pluggd.testing import memory_metadata
from tests.plugins.content.content_setup import started_content
from tests.proxy.proxied import proxied

pytest.register_assert_rewrite("tests.contract.content_suite")

from tests.contract.content_suite import *  # noqa: E402, F403
from tests.contract.content_suite import Subject  # noqa: E402

# A transaction is an object of this process: what is behind a socket cannot join it.
del test_delete_joins_a_transaction  # noqa: F821
# Cancelling returns before the other process has cleaned up behind the call.
del test_a_stream_that_breaks_off_leaves_an_ingest  # noqa: F821


@pytest.fixture
async def subject(tmp_path: Path) -> AsyncGenerator[Subject]:
    async with (
        memory_metadata() as metadata,
        started_content(tmp_path / "content", metadata) as content,
        proxied(service.CONTENT, content) as proxy,
    ):
        yield Subject(proxy, metadata)
