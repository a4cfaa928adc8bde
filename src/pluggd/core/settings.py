# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The options of the daemon itself: what each means, its unit, its default.

The docstring below a field is its documentation in config.toml. The options of
plugins are records of their own, in the plugins; nothing here knows them.
"""

from __future__ import annotations

from typing import Any

from pluggd.core.access import AccessConfig
from pluggd.errors import InvalidArgument
from pluggd.model.record import Record


class LimitSettings(Record, frozen=True):
    """What one client may cost; a limit that is hit is `resource_exhausted` for that
    connection alone. Each is at least 1."""

    message_size: int = 16 << 20
    """Bytes of one message, in either direction."""
    depth: int = 64
    """How deep arrays and maps of one message may be nested, its own array included."""
    elements: int = 100_000
    """Values in one message: elements of arrays plus keys and values of maps."""
    requests: int = 1024
    """Requests of one connection that may wait for their answer at a time."""
    streams: int = 64
    """Requests of one connection that may stream at a time, among the requests."""
    descriptors: int = 16
    """File descriptors with one message."""
    queued: int = 4 << 20
    """Bytes that wait for a connection that reads slowly, at which its requests are no
    longer read and its streams wait."""
    queued_max: int = 64 << 20
    """Bytes that wait for a connection that reads slowly, at which it is closed; at
    least `queued` and `message_size` together."""
    connections: int = 4096
    """Connections at a time."""


class RpcSettings(Record, frozen=True):
    """The socket and those who connect to it."""

    address: str = ""
    """Path of the unix socket. Default: pluggd.sock in the state directory."""
    uid: int = -1
    """Owner of the socket file; -1 is the user of the daemon."""
    gid: int = -1
    """Group of the socket file; -1 is the group of the daemon."""
    mode: int = 0o660
    """Mode of the socket file. Who may write to it may connect."""
    grace: float = 5.0
    """Seconds that running calls get to end when the daemon stops; 0 cancels them at
    once."""
    limits: LimitSettings = LimitSettings()
    access: AccessConfig = AccessConfig()


class LogSettings(Record, frozen=True):
    """What is written to standard error."""

    level: str = "info"
    """Least level that is written: debug, info, warning or error."""
    format: str = "text"
    """text (key=value) or json (one object per line)."""


class ProxySettings(Record, frozen=True):
    """A plugin in another process, which serves the kind's methods on its own socket."""

    kind: str
    """What it provides: a kind, short or full, as in content or pluggd.content.v1."""
    address: str
    """Path of its socket."""
    timeout: float = 30.0
    """Seconds for one call that neither streams nor waits for news; 0 for no bound."""
    heartbeat: float = 10.0
    """Seconds between two questions whether it still answers, and for the answer."""

    def __post_init__(self) -> None:
        if self.timeout < 0:
            raise InvalidArgument(f"timeout = {self.timeout:g}: must not be negative")
        if self.heartbeat <= 0:
            raise InvalidArgument(
                f"heartbeat = {self.heartbeat:g}: must be more than 0"
            )


class Settings(Record, frozen=True):
    """The top level of config.toml."""

    imports: list[str] = []
    """Further files, as in ["conf.d/*.toml"], relative to this one. Tables are merged,
    everything else is replaced, and what is read later wins: imported files after the
    importing one, those of one pattern by name. A name without a pattern must exist."""
    root: str = ""
    """Directory for what must survive a reboot. Default: /var/lib/pluggd for root,
    $XDG_DATA_HOME/pluggd for others."""
    state: str = ""
    """Directory for what need not survive a reboot. Default: /run/pluggd for root,
    $XDG_RUNTIME_DIR/pluggd for others."""
    plugin_dirs: list[str] = []
    """Directories with plugins, as folders or single .py files; relative to this
    file."""
    disabled_plugins: list[str] = []
    """URIs of plugins that are not started."""
    required_plugins: list[str] = []
    """URIs of plugins without which the daemon does not start."""
    strict: bool = False
    """Whether every plugin that is not disabled is required. Skipped ones are not ok
    either."""
    start_deadline: float = 30.0
    """Seconds that a plugin may take to start."""
    stop_deadline: float = 10.0
    """Seconds that a plugin may take to stop."""
    shutdown_deadline: float = 60.0
    """Seconds that all plugins together may take to stop; after that the rest is
    cancelled."""
    rpc: RpcSettings = RpcSettings()
    log: LogSettings = LogSettings()
    select: dict[str, str] = {}
    """Which provider of a kind counts where there is more than one: the kind (short or
    full) and the id, as in metadata = "lmdb". Some plugins are alternatives: they start
    only when they are named here, in place of the others of their kind."""
    decorate: dict[str, list[str]] = {}
    """Plugins that are put over the provider of a kind, by their ids, the innermost first,
    as in images = ["policy"]. Whoever uses the kind gets the outermost. One that does not
    work makes the kind unavailable; one that is disabled is passed over."""
    proxy_plugins: dict[str, ProxySettings] = {}
    """Plugins in other processes: an id for each, with kind, address (a socket), timeout
    (30.0 seconds for a call) and heartbeat (10.0 seconds), as in
    remote = { kind = "content", address = "/run/remote.sock" }"""
    plugins: dict[str, dict[str, Any]] = {}
    """The options of each plugin, under its URI."""


# What the daemon holds open from its start to its end; all other options of it can
# change meanwhile.
DAEMON_KEYS: frozenset[tuple[str, ...]] = frozenset(
    {
        ("root",),
        ("state",),
        ("rpc", "address"),
        ("rpc", "uid"),
        ("rpc", "gid"),
        ("rpc", "mode"),
    }
)
# These say which plugins there are, and who gets whom.
PLUGIN_KEYS: frozenset[tuple[str, ...]] = frozenset(
    {
        ("plugin_dirs",),
        ("disabled_plugins",),
        ("select",),
        ("decorate",),
        ("proxy_plugins",),
    }
)


def short_kind(kind: str) -> str:
    """`metadata` of `pluggd.metadata.v1`: what an operator writes in [select]."""
    parts = kind.split(".")
    return parts[-2] if len(parts) > 1 else kind
