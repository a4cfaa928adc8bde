# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Events to subscribers, from the log of the metadata store. See README.md."""

from plugins.events.registration import pluggd_register

__all__ = ["pluggd_register"]
