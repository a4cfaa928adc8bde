# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Containers: records that pin what a task needs; see README.md."""

from plugins.containers.registration import pluggd_register

__all__ = ["pluggd_register"]
