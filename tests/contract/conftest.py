# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Makes the stores' fixtures visible here."""

from tests.contract.fixtures import services, stores

__all__ = ["services", "stores"]
