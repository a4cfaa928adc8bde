# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The contract of `pluggd.images.v1`, on the store over each metadata provider."""

from __future__ import annotations

import pytest

from pluggd.services.images import Images
from pluggd.testing.conformance.images import ImagesConformance
from tests.contract.stand import Stand


class TestStore(ImagesConformance):
    @pytest.fixture
    def images(self, stores: Stand) -> Images:
        return stores.images
