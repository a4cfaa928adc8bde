# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The contract of `pluggd.containers.v1`, on the store and on a client of a daemon."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from pluggd.services.containers import Containers
from tests.contract.containers_suite import SUITE
from tests.contract.fixtures import Services


@pytest.mark.parametrize("promise", SUITE, ids=lambda promise: promise.__name__)
async def test_the_promise_is_kept(
    promise: Callable[[Containers], Awaitable[None]], services: Services
) -> None:
    await promise(services.containers)
