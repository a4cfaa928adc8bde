# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""When to collect what nothing refers to any more. See README.md."""

from .registration import pluggd_register

__all__ = ["pluggd_register"]
