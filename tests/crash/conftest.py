# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""As many kills as somebody asks for take as long as they take."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    kills = int(os.environ.get("PLUGGD_KILLS", "0"))
    for item in items:
        if kills and item.path.parent == HERE:
            item.add_marker(pytest.mark.timeout(600 + 60 * kills))
