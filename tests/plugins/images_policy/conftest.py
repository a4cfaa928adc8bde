# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Makes the stores' fixture visible here."""

from tests.contract.fixtures import stores

__all__ = ["stores"]
