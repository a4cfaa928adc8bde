# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The service of the connection itself: what a client may agree on with the daemon.

Built into the core, since it changes the connection that the call came by.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pluggd.model.record import Record
from pluggd.services.kind import Kind
from pluggd.services.rpc import rpc


class Welcome(Record, frozen=True):
    """What holds on this connection from now on. version: of the daemon.

    limits: bytes and counts, docs/rpc.md. features: those agreed, of those asked for.
    """

    version: str = ""
    limits: dict[str, int] = {}
    features: list[str] = []


class Rpc(Protocol):
    """Nobody has to call this; without it the default profile holds."""

    @rpc(namespaced=False)
    async def hello(self, *, client: str = "", features: Sequence[str] = ()) -> Welcome:
        """Agree on a richer profile; features that are not known are left out.

        client: a name and version for the daemon's log. features: of `error_map`,
        `fds`, `streams`, `timestamp`. Use them after the answer has come.
        """
        ...


RPC = Kind("pluggd.rpc.v1", Rpc)
