# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Every source file says whose it is, and under which licence."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEADER = [
    "# Copyright The pluggd Authors.",
    "# SPDX-License-Identifier: Apache-2.0",
]
PLACES = ("src", "plugins", "tests", "docs", "scripts", "bench")
SINGLE = ("Makefile", "noxfile.py", ".ci/run")


def sources() -> list[Path]:
    found = [
        path
        for place in PLACES
        for pattern in ("**/*.py", "**/*.pyi", "**/*.sh")
        for path in (ROOT / place).glob(pattern)
    ]
    return found + [path for name in SINGLE if (path := ROOT / name).exists()]


@pytest.mark.parametrize("place", ["src", "plugins", "tests"])
def test_the_sources_are_found(place: str) -> None:
    assert any(path.is_relative_to(ROOT / place) for path in sources())


def test_every_source_file_has_the_header() -> None:
    missing: list[str] = []
    for path in sources():
        lines = path.read_text().splitlines()
        if lines and lines[0].startswith("#!"):
            lines = lines[1:]
        if lines[:2] != HEADER:
            missing.append(str(path.relative_to(ROOT)))
    assert missing == []
