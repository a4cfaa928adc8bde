# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The contract of `pluggd.containers.v1`, on the store over each metadata provider."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from pluggd.services.containers import Containers
from tests.contract.containers_suite import SUITE
from tests.contract.stand import Stand


@pytest.mark.parametrize("promise", SUITE, ids=lambda promise: promise.__name__)
async def test_the_store_keeps_the_promise(
    promise: Callable[[Containers], Awaitable[None]], stores: Stand
) -> None:
    await promise(stores.containers)
