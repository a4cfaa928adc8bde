# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""See `pluggd.metastore.jobs`."""

from pluggd.metastore.jobs import Job

__all__ = ["Job"]
