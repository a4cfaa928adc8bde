# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The content store over an S3-compatible object store. See README.md."""

from .registration import pluggd_register

__all__ = ["pluggd_register"]
