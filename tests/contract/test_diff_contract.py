# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The contract of `pluggd.diff.v1`, on the bundled provider."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from pluggd.services.content import CONTENT, Content
from pluggd.services.diff import Diff
from pluggd.testing import started
from pluggd.testing.conformance.diff import DiffConformance
from plugins.diff.config import Config
from plugins.diff.registration import pluggd_register


class TestWalking(DiffConformance):
    @pytest.fixture
    async def diff(self, content: Content) -> AsyncGenerator[Diff]:
        async with started(pluggd_register(), {CONTENT: content}, Config()) as (
            diff,
            _,
        ):
            yield diff
