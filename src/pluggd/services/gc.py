# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Garbage collection as its users see it: run it, ask it why."""

from __future__ import annotations

from typing import Protocol

from pluggd.model.record import Record
from pluggd.model.types import Time
from pluggd.services.kind import Kind
from pluggd.services.metadata import CollectStats, Explanation, Removed
from pluggd.services.rpc import rpc


class GcStatus(Record, frozen=True):
    """What the policy knows and will do. Times in ns since the epoch, 0 for none.

    next_at: the next look; reason: what it would collect for, or what it waits for.
    """

    policy: str = ""
    running: bool = False
    collections: int = 0
    failures: int = 0
    last_at: Time = 0
    next_at: Time = 0
    deletions: int = 0
    mutations: int = 0
    mean_pause: int = 0
    last_error: str = ""
    reason: str = ""
    last: CollectStats | None = None


class Plan(Record, frozen=True):
    objects: list[Removed] = []


class Gc(Protocol):
    """The policy decides when; what is kept follows from references alone."""

    @rpc(result="stats", namespaced=False)
    async def run(
        self, *, wait: bool = False, full: bool = False
    ) -> CollectStats | None:
        """Ask for a collection. wait: until a whole one that began after this call is
        done, with what it did. full: mark everything, as a check of the index.

        Raises Unavailable when the collection failed.
        """
        ...

    @rpc(result="status", namespaced=False)
    async def status(self) -> GcStatus:
        """What the policy knows, when it will collect next, and what the last one did."""
        ...

    @rpc(namespaced=False)
    async def plan(self) -> Plan:
        """What a collection would remove now."""
        ...

    @rpc()
    async def explain(self, *, name: str, type: str = "content") -> Explanation:
        """Why an object of this namespace is kept. Raises InvalidArgument (type)."""
        ...


GC = Kind("pluggd.gc.v1", Gc)
