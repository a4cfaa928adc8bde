# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tasks: containers that run, through an OCI runtime. See README.md."""

from .registration import pluggd_register

__all__ = ["pluggd_register"]
