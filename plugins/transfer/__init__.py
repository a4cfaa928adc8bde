# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Whole images in and out: OCI layouts and docker archives. See README.md."""

from .registration import pluggd_register

__all__ = ["pluggd_register"]
