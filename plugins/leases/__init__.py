# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Leases: what an operation in progress holds is not collected; see README.md."""

from plugins.leases.registration import pluggd_register

__all__ = ["pluggd_register"]
