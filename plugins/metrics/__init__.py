# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Figures for Prometheus, over the socket and where wished over HTTP. See README.md."""

from .registration import pluggd_register

__all__ = ["pluggd_register"]
