# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The metadata store over LMDB: one writer thread, group commit, event log, collection.

Every other store keeps its records here (`pluggd.services.metadata`).
"""

from plugins.metadata.registration import pluggd_register

__all__ = ["pluggd_register"]
