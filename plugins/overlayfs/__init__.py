# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The snapshotter that layers. See README.md."""

from plugins.overlayfs.registration import pluggd_register

__all__ = ["pluggd_register"]
