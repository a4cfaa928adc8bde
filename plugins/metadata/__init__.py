# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The metadata store: the records of all stores, in LMDB. See README.md."""

from .registration import pluggd_register

__all__ = ["pluggd_register"]
