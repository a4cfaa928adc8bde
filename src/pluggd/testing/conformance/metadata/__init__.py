# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The rules of `pluggd.metadata.v1`: tables, transactions, the log, and collection."""

from __future__ import annotations

import pytest

from pluggd.services.metadata import Metadata
from pluggd.testing.conformance.base import missing
from pluggd.testing.conformance.metadata.collecting import Collecting
from pluggd.testing.conformance.metadata.explaining import Explaining
from pluggd.testing.conformance.metadata.keeping import Keeping
from pluggd.testing.conformance.metadata.leasing import Leasing
from pluggd.testing.conformance.metadata.log import Log
from pluggd.testing.conformance.metadata.nodes import Nodes
from pluggd.testing.conformance.metadata.records import Records
from pluggd.testing.conformance.metadata.transactions import Transactions

__all__ = ["MetadataConformance"]


class MetadataConformance(
    Records,
    Transactions,
    Log,
    Nodes,
    Keeping,
    Leasing,
    Collecting,
    Explaining,
):
    """What every provider of `pluggd.metadata.v1` promises.

    Provide the fixture `metadata`: an empty store.
    """

    @pytest.fixture
    def metadata(self) -> Metadata:
        """The provider, empty. Yours to override."""
        missing(type(self), "metadata")
