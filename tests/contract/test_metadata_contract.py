# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Every provider of `pluggd.metadata.v1` keeps what the interface promises.

A provider is added to `PROVIDERS`: how to open an empty one in a directory.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from pluggd.services.metadata import Metadata
from pluggd.testing.memory import memory_metadata
from tests.contract import collection_suite, metadata_suite
from tests.contract.fixtures import lmdb

Check = Callable[[Metadata], Awaitable[None]]
Open = Callable[[Path], AbstractAsyncContextManager[Metadata]]

PROVIDERS: dict[str, Open] = {
    "memory": lambda path: memory_metadata(),
    "lmdb": lmdb,
}


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    "check",
    [*metadata_suite.SUITE, *collection_suite.SUITE],
    ids=lambda check: check.__name__,
)
async def test_a_provider_keeps_its_promise(
    provider: str, check: Check, tmp_path: Path
) -> None:
    async with PROVIDERS[provider](tmp_path) as metadata:
        await check(metadata)
