# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The lease manager: what is in progress is not collected. See README.md."""

from .registration import pluggd_register

__all__ = ["pluggd_register"]
