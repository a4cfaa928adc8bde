# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""See `pluggd.metastore.buffer`."""

from pluggd.metastore.buffer import Buffer

__all__ = ["Buffer"]
