# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The configuration and the plugins it is for, or an exit with what is wrong.

Every command of `pluggd` that needs them begins here; it knows none of them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from pluggd.cli.loading import load
from pluggd.core.config import Configuration
from pluggd.core.discovery import Found, Memory
from pluggd.core.exits import EXIT_CONFIG
from pluggd.errors import InvalidArgument


def configured(
    file: Path | None,
    flags: dict[tuple[str, ...], Any] | None = None,
    memory: Memory | None = None,
) -> tuple[Configuration, list[Found]]:
    """Raises SystemExit with EXIT_CONFIG when the mistakes have been printed."""
    try:
        return load(file, flags, memory=memory)
    except InvalidArgument as error:
        for line in error.message.splitlines():
            print(f"pluggd: {line}", file=sys.stderr)
        sys.exit(EXIT_CONFIG)
