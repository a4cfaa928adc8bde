# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The four record stores, started by their own registrations over one metadata store.

What the tests of the stores and the contract suites run on. The metadata store is
given; the collection policy is the simplest there is: collect when asked.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from pluggd.model.record import decode
from pluggd.plugin import NoConfig, Registration
from pluggd.services.containers import Containers
from pluggd.services.envelope import Envelope
from pluggd.services.gc import GC, Gc, GcStatus, Plan
from pluggd.services.images import Images
from pluggd.services.kind import Kind
from pluggd.services.leases import Leases
from pluggd.services.metadata import (
    METADATA,
    CollectStats,
    Explanation,
    Metadata,
    Node,
)
from pluggd.services.namespaces import Namespaces
from pluggd.testing import FakeContext
from plugins.containers.registration import pluggd_register as containers
from plugins.images.registration import pluggd_register as images
from plugins.leases.registration import pluggd_register as leases
from plugins.namespaces.registration import pluggd_register as namespaces

T = TypeVar("T")


class CollectWhenAsked:
    """The collection policy that has no policy."""

    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata
        self.runs = 0

    async def run(self, *, wait: bool = False, full: bool = False) -> CollectStats:
        self.runs += 1
        return await self._metadata.collect(full=full)

    async def status(self) -> GcStatus:
        return GcStatus(collections=self.runs)

    async def plan(self) -> Plan:
        return Plan(objects=await self._metadata.plan())

    async def explain(self, *, name: str, type: str = "content") -> Explanation:
        return await self._metadata.explain(Node(type, "", name))


@dataclass
class Stand:
    """`kinds` is what the stores' contexts find; take GC out to be without one."""

    metadata: Metadata
    gc: CollectWhenAsked
    images: Images
    leases: Leases
    containers: Containers
    namespaces: Namespaces
    kinds: dict[Kind[Any], Any]

    def without_gc(self) -> None:
        del self.kinds[GC]

    def events(self, after: int = 0) -> list[tuple[str, str, str, Any]]:
        """Namespace, topic, type and payload of the events in the log."""
        stored = self.metadata.read(lambda view: list(view.events(after)))
        envelopes = [decode(data, Envelope) for _, data in stored]
        return [
            (one.namespace, one.topic, one.event.type_url, one.event.value)
            for one in envelopes
        ]


@asynccontextmanager
async def stand(metadata: Metadata) -> AsyncGenerator[Stand]:
    """The stores over this metadata store."""
    gc: Gc = (policy := CollectWhenAsked(metadata))
    kinds: dict[Kind[Any], Any] = {METADATA: metadata, GC: gc}
    async with AsyncExitStack() as stack:

        async def start(registration: Registration[T, NoConfig]) -> T:
            context = FakeContext(registration.config(), kinds)
            return await stack.enter_async_context(registration.start(context))

        yield Stand(
            metadata,
            policy,
            await start(images()),
            await start(leases()),
            await start(containers()),
            await start(namespaces()),
            kinds,
        )
