# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

# How long an example takes says something about the machine, not about the code; and a
# run of CI that fails must fail again with the same examples.
settings.register_profile("pluggd", deadline=None, derandomize=True)
settings.load_profile("pluggd")
