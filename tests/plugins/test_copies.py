# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Who writes a plugin may begin with a copy of a bundled one: it is a plugin of its own."""

from __future__ import annotations

import inspect
import shutil
from pathlib import Path

import pytest

from pluggd.core.discovery import (
    bundled_dir,
    bundled_sources,
    directory_sources,
    examine,
)

NAMES = [source.name for source in bundled_sources(bundled_dir())]


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_runs_its_own_code(name: str, tmp_path: Path) -> None:
    copy = tmp_path / f"my_{name}"
    shutil.copytree(bundled_dir() / name, copy)
    (source,) = directory_sources(tmp_path)
    for one in examine(source):
        assert one.failure is None
        assert one.registration is not None
        start = inspect.getsourcefile(inspect.unwrap(one.registration.start))
        assert start is not None
        assert Path(start).is_relative_to(copy)
        config = one.registration.config
        assert config.__module__.startswith(("pluggd.", "pluggd_plugins_"))
