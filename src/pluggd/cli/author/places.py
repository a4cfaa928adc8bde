# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which plugins a path means: a file, a folder, a directory of them, or a project."""

from __future__ import annotations

import sys
from pathlib import Path

from pluggd.core.discovery import Source, directory_sources
from pluggd.errors import NotFound


def sources_at(path: Path) -> list[Source]:
    """What is there, as the daemon would find it in `plugin_dirs`; modules of a
    project's `src` are imported by their name. Raises NotFound when there is none."""
    path = path.resolve()
    if path.is_file() or (path / "__init__.py").is_file():
        found = [one for one in directory_sources(path.parent) if one.path == str(path)]
    elif (path / "plugins").is_dir():
        found = directory_sources(path / "plugins")
    elif (path / "src").is_dir():
        if str(path / "src") not in sys.path:
            sys.path.insert(0, str(path / "src"))
        found = directory_sources(path / "src")
    else:
        found = directory_sources(path)
    if not found:
        raise NotFound(
            f"{path}: no plugin there: give a .py file, a folder with __init__.py, or a"
            " directory that holds some: not found"
        )
    return found
