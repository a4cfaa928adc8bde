# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What each kind promises, as tests that run on any provider of it.

A suite is a class, its methods are the rules of the kind, their names say what they are.
Who provides the kind makes a class of it and overrides one fixture, named as the kind:

    class TestMine(ImagesConformance):
        @pytest.fixture
        async def images(self, metadata: Metadata) -> AsyncGenerator[Images]:
            kinds = {METADATA: metadata}
            async with started(pluggd_register(), kinds, NoConfig()) as (images, _):
                yield images

What a provider cannot do and need not is named with the reason, and its rules are
skipped: `lacks = {"history": "events are kept in memory"}` (`optional` of a suite has the
names). The rules need pytest and pytest-trio, and no other plugin of pytest.
"""

from __future__ import annotations

import pkgutil

import pytest

# Before any module of rules is imported: a failed one is to show its values.
pytest.register_assert_rewrite(
    *(f"{__name__}.{module.name}" for module in pkgutil.iter_modules(__path__))
)

from pluggd.testing.conformance.base import Conformance, needs  # noqa: E402
from pluggd.testing.suites import SUITES, Where  # noqa: E402

__all__ = ["SUITES", "Conformance", "Where", "needs"]
