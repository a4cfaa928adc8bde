# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The contract of `pluggd.images.v1`, on the store and on a client of a daemon."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from pluggd.services.images import Images
from tests.contract.fixtures import Services
from tests.contract.images_suite import SUITE


@pytest.mark.parametrize("promise", SUITE, ids=lambda promise: promise.__name__)
async def test_the_promise_is_kept(
    promise: Callable[[Images], Awaitable[None]], services: Services
) -> None:
    await promise(services.images)
