# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The contract of `pluggd.containers.v1`, on the store over each metadata provider."""

from __future__ import annotations

import pytest

from pluggd.services.containers import Containers
from pluggd.testing.conformance.containers import ContainersConformance
from tests.contract.stand import Stand


class TestStore(ContainersConformance):
    @pytest.fixture
    def containers(self, stores: Stand) -> Containers:
        return stores.containers
