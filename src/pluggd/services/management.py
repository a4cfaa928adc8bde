# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Changing a running daemon: its configuration, and which plugins run."""

from __future__ import annotations

from typing import Protocol

from pluggd.model.record import Record
from pluggd.services.kind import Kind
from pluggd.services.rpc import rpc


class OptionChange(Record, frozen=True):
    """An option whose value differs from the one in force.

    key: as in the file (`plugins."pluggd.gc.v1.scheduler".startup_delay`). old, new:
    as TOML. origin: file and line, or flag, of the new value. effect: `live` (in force
    at once), `restart` (its plugin is started anew, with what depends on it) or
    `daemon` (in force when the daemon is started anew).
    """

    key: str = ""
    old: str = ""
    new: str = ""
    origin: str = ""
    effect: str = ""


class PluginChange(Record, frozen=True):
    """What was done, or would be done, with a plugin.

    action: `start`, `restart`, `stop`, or `reconfigure` for one that took new options
    without a stop. before, after: its status; `after` is empty in a plan. reason: why
    it has that status.
    """

    uri: str = ""
    action: str = ""
    before: str = ""
    after: str = ""
    reason: str = ""


class Change(Record, frozen=True):
    """options: what differs. plugins: what happened, in order of start; in a plan,
    what would. warnings: what an operator should look at."""

    options: list[OptionChange] = []
    plugins: list[PluginChange] = []
    warnings: list[str] = []


class Management(Protocol):
    """One change at a time; others wait. None of these methods needs a namespace.

    A plugin is stopped together with all that require or want what it provides, in
    reverse order, and they are started again in order. Meanwhile calls of what they
    serve get `unavailable` with the reason; calls in flight get the grace of the
    configuration (`rpc.grace`), streams that wait for news are ended at once. A change
    goes on when the caller is gone.
    """

    @rpc(namespaced=False)
    async def restart(self, *, uri: str) -> Change:
        """Stop a plugin, with its dependents, and start them.

        Also gives one that failed, was skipped or is blocked another turn. Raises
        NotFound; FailedPrecondition for one that is disabled, was never loaded, or is
        the core's own.
        """
        ...

    @rpc(namespaced=False)
    async def disable(self, *, uri: str) -> Change:
        """Stop a plugin until `enable`, or until the daemon is started anew.

        Its dependents go on with another provider, or are *blocked*. Raises NotFound;
        FailedPrecondition when `required_plugins` names it or one that needs it.
        """
        ...

    @rpc(namespaced=False)
    async def enable(self, *, uri: str) -> Change:
        """Start a plugin that is disabled, by hand or in the configuration.

        Raises NotFound, and FailedPrecondition for one that is not disabled.
        """
        ...

    @rpc(namespaced=False)
    async def reload(self, *, dry_run: bool = False) -> Change:
        """Read the configuration again and apply what differs.

        dry_run: only say what would happen. Raises InvalidArgument with every mistake,
        a line each; then nothing has changed.
        """
        ...


MANAGEMENT = Kind("pluggd.management.v1", Management)
