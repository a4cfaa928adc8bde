# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The content store: blobs as files under their digest. See README.md."""

from .registration import pluggd_register

__all__ = ["pluggd_register"]
