# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The configuration and all plugins that it asks for, those in other processes too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pluggd.core.config import Configuration
from pluggd.core.config_files import Key
from pluggd.core.discovery import Found, Memory
from pluggd.core.loading import load_all
from pluggd.core.settings import Settings


def load(
    file: Path | None = None,
    flags: Mapping[Key, Any] | None = None,
    *,
    memory: Memory | None = None,
) -> tuple[Configuration, list[Found]]:
    """See `pluggd.core.loading.load_all`."""
    return load_all(file, flags, memory=memory, more=_proxies)


def _proxies(settings: Settings, found: Sequence[Found]) -> Iterable[Found]:
    if not settings.proxy_plugins:
        return ()  # and no client is imported for it
    from pluggd.proxy import proxies

    return proxies(settings, found)
