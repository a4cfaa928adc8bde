# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The options of the shelf."""

from __future__ import annotations

from pluggd.model.record import Record


class Config(Record, frozen=True):
    max_length: int = 1000
    """Characters that a note may have, at least 1."""
