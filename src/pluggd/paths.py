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
from pathlib import Path

SOCKET = "pluggd.sock"


def _is_root() -> bool:
    return os.geteuid() == 0


def _xdg(variable: str, fallback: str) -> Path:
    """An XDG directory; the specification ignores relative values."""
    value = os.environ.get(variable, "")
    return Path(value) if os.path.isabs(value) else Path.home() / fallback


def default_root() -> Path:
    """What must survive a reboot: /var/lib/pluggd, or $XDG_DATA_HOME/pluggd."""
    if _is_root():
        return Path("/var/lib/pluggd")
    return _xdg("XDG_DATA_HOME", ".local/share") / "pluggd"


def default_state() -> Path:
    """What need not survive one: /run/pluggd, or $XDG_RUNTIME_DIR/pluggd.

    Without XDG_RUNTIME_DIR (a shell from su, a container) a plain user gets
    /tmp/pluggd-<uid>; whoever creates it must refuse one of another owner.
    """
    if _is_root():
        return Path("/run/pluggd")
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime):
        return Path(runtime) / "pluggd"
    return Path(f"/tmp/pluggd-{os.geteuid()}")


def default_address() -> Path:
    """The daemon's socket: `pluggd.sock` in the state directory."""
    return default_state() / SOCKET


def default_config() -> Path:
    """/etc/pluggd/config.toml, or $XDG_CONFIG_HOME/pluggd/config.toml."""
    if _is_root():
        return Path("/etc/pluggd/config.toml")
    return _xdg("XDG_CONFIG_HOME", ".config") / "pluggd" / "config.toml"
