# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The metadata store in SQLite, for who prefers it to LMDB. See README.md."""

from .registration import pluggd_register

__all__ = ["pluggd_register"]
