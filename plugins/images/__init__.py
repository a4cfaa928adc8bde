# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Images: names that point to content; see README.md."""

from plugins.images.registration import pluggd_register

__all__ = ["pluggd_register"]
