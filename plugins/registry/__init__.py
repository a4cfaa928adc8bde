# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Registries: names of images become bytes, over HTTP. See README.md."""

from .registration import pluggd_register

__all__ = ["pluggd_register"]
