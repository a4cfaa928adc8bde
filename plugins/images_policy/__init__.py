# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which images may be stored, put over the image store. See README.md."""

from .registration import pluggd_register

__all__ = ["pluggd_register"]
