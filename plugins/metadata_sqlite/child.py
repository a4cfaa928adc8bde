# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The modules of this plugin that run in processes of their own: `mark`, `verify`."""

from __future__ import annotations

from pathlib import Path

from pluggd.metastore import child

_PACKAGE = "plugins.metadata_sqlite"
_FOLDER = Path(__file__).resolve().parent


async def run(module: str, *arguments: str) -> bytes:
    """See `pluggd.metastore.child.run`."""
    return await child.run(_PACKAGE, _FOLDER, module, *arguments)
