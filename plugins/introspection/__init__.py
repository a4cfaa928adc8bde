# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Answers what the daemon is, has and can do. See README.md."""

from .registration import pluggd_register

__all__ = ["pluggd_register"]
