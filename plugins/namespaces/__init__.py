# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Namespaces: names for what belongs together, and labels on them; see README.md."""

from plugins.namespaces.registration import pluggd_register

__all__ = ["pluggd_register"]
