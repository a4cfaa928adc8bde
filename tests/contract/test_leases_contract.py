# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The contract of `pluggd.leases.v1`, on the store over each metadata provider."""

from __future__ import annotations

import pytest

from pluggd.services.leases import Leases
from pluggd.testing.conformance.leases import LeasesConformance
from tests.contract.stand import Stand


class TestStore(LeasesConformance):
    @pytest.fixture
    def leases(self, stores: Stand) -> Leases:
        return stores.leases
