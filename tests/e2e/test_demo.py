# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The tour that the README promises works, and cleans up after itself."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


def test_the_demo_runs_to_its_end() -> None:
    result = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "demo.py")],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "files of blobs larger than 16 KiB: none" in result.stdout
    assert "/images/delete" in result.stdout
    # What to type next works as it stands there.
    activate = re.search(r"^   \$ \. (\S+/activate)$", result.stdout, re.MULTILINE)
    assert activate is not None
    assert (ROOT / activate[1]).is_file()
    assert result.stdout.rstrip().endswith("a plugin of your own.")
