# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The namespace store: names for what belongs together. See README.md."""

from .registration import pluggd_register

__all__ = ["pluggd_register"]
