# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The contract of `pluggd.namespaces.v1`, on the store over each metadata provider."""

from __future__ import annotations

import pytest

from pluggd.services.namespaces import Namespaces
from pluggd.testing.conformance.namespaces import NamespacesConformance
from tests.contract.stand import Stand


class TestStore(NamespacesConformance):
    @pytest.fixture
    def namespaces(self, stores: Stand) -> Namespaces:
        return stores.namespaces
