# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Remembers notes on images, and forgets them with the image. See README.md."""

from .registration import pluggd_register

__all__ = ["pluggd_register"]
