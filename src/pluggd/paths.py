# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where pluggd keeps its files, and where its clients look for it.

One place for both ends: a client that looks elsewhere than the daemon listens
is a bug that looks like a daemon that is down. Root gets the directories of the
system, a plain user those of the XDG base directory specification. Imports
nothing but the standard library, and asks the environment at each call.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SOCKET = "pluggd.sock"


def default_root() -> Path:
    """What must survive a reboot: /var/lib/pluggd, or $XDG_DATA_HOME/pluggd."""
    if _is_root():
        return _path("/var/lib/pluggd")
    return _path(_xdg("XDG_DATA_HOME", ".local/share"), "pluggd")


def default_state() -> Path:
    """What need not survive one: /run/pluggd, or $XDG_RUNTIME_DIR/pluggd.

    Without XDG_RUNTIME_DIR (a shell from su, a container) a plain user gets
    /tmp/pluggd-<uid>; whoever creates it must refuse one of another owner.
    """
    return _path(_state())


def default_address() -> Path:
    """The daemon's socket: `pluggd.sock` in the state directory."""
    return _path(default_address_text())


def default_address_text() -> str:
    """The same as text: pathlib takes as long to import as the rest of a call takes."""
    return os.path.join(_state(), SOCKET)


def default_config() -> Path:
    """/etc/pluggd/config.toml, or $XDG_CONFIG_HOME/pluggd/config.toml."""
    if _is_root():
        return _path("/etc/pluggd/config.toml")
    return _path(_xdg("XDG_CONFIG_HOME", ".config"), "pluggd", "config.toml")


def _is_root() -> bool:
    return os.geteuid() == 0


def _state() -> str:
    if _is_root():
        return "/run/pluggd"
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime):
        return os.path.join(runtime, "pluggd")
    return f"/tmp/pluggd-{os.geteuid()}"


def _xdg(variable: str, fallback: str) -> str:
    """An XDG directory; the specification ignores relative values."""
    value = os.environ.get(variable, "")
    if os.path.isabs(value):
        return value
    return os.path.join(os.path.expanduser("~"), fallback)


def _path(*parts: str) -> Path:
    from pathlib import Path

    return Path(*parts)
