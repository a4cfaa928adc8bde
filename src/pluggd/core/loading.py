# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""From a file and flags to a checked configuration and the plugins that it is for.

Used at start, by the offline commands, and again by each reload of a running daemon.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pluggd.core.advice import empty_directory
from pluggd.core.config import Configuration, configure, settings_of
from pluggd.core.config_files import ConfigError, Key, load
from pluggd.core.discovery import Found, Memory, discover
from pluggd.core.settings import Settings
from pluggd.errors import InvalidArgument
from pluggd.struct import replace

More = Callable[[Settings, Sequence[Found]], Iterable[Found]]


def load_all(
    file: Path | None = None,
    flags: Mapping[Key, Any] | None = None,
    *,
    memory: Memory | None = None,
    bundled: bool = True,
    more: More = lambda settings, found: (),
) -> tuple[Configuration, list[Found]]:
    """Raises ConfigError with every mistake that can be told.

    memory: what was discovered before, see `discover`. bundled: whether the bundled
    plugins count. more: told the settings and what was found, gives plugins that come
    from elsewhere.
    """
    sources = load(file, flags)
    settings = settings_of(sources)
    directories = [Path(directory) for directory in settings.plugin_dirs]
    try:
        found = discover(directories, bundled=bundled, memory=memory)
    except InvalidArgument as error:
        text = error.message.removesuffix(": invalid argument")
        raise ConfigError([f"{sources.where(('plugin_dirs',))}: {text}"]) from None
    empty = [
        empty_directory(directory)
        for directory in directories
        if not any(one.origin == str(directory.resolve()) for one in found)
    ]
    found += more(settings, found)
    configuration = configure(sources, settings, found)
    if empty:
        warnings = (*configuration.warnings, *empty)
        configuration = replace(configuration, warnings=warnings)
    return configuration, found
