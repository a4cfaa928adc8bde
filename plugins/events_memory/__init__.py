# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What happened, in one order, kept in memory alone. See README.md."""

from .registration import pluggd_register

__all__ = ["pluggd_register"]
