# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Layers become files, and files layers. See README.md."""

from .registration import pluggd_register

__all__ = ["pluggd_register"]
