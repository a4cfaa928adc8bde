# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""See `pluggd.metastore.writer`."""

from pluggd.metastore.writer import Writer

__all__ = ["Writer"]
