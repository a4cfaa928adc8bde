# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The four record stores, started by their own registrations over one metadata store.

What the tests of the stores and the contract suites run on. The metadata store is
given; the collection policy is the simplest there is: collect when asked.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import trio

from pluggd.errors import NotFound
from pluggd.model.record import Record, decode
from pluggd.model.types import Platform
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
from plugins.containers.registration import pluggd_register as containers
from plugins.images.registration import pluggd_register as images
from plugins.leases.registration import pluggd_register as leases
from plugins.namespaces.registration import pluggd_register as namespaces

T = TypeVar("T")
C = TypeVar("C", bound=Record)


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


class StandContext(Generic[C]):
    """What `start` is given here. kinds: what it finds, by name of the kind."""

    def __init__(
        self,
        config: C,
        kinds: dict[str, Any],
        *,
        root: Path = Path("/nonexistent"),
        nursery: trio.Nursery | None = None,
    ) -> None:
        self.uri = "pluggd.test.v1.stand"
        self.config = config
        self.root = self.state = root
        self.log = logging.LoggerAdapter(logging.getLogger("stand"), {})
        self._kinds = kinds
        self._nursery = nursery

    def get(self, kind: Kind[T]) -> T:
        found = self.find(kind)
        if found is None:
            raise NotFound(f"{kind}: not found")
        return found

    def get_all(self, kind: Kind[T]) -> dict[str, T]:
        return {"stand": self.get(kind)}

    def find(self, kind: Kind[T]) -> T | None:
        found: T | None = self._kinds.get(kind.name)
        return found

    def spawn(
        self,
        function: Callable[..., Awaitable[object]],
        *args: object,
        name: str | None = None,
    ) -> None:
        assert self._nursery is not None, "the record stores have no tasks"
        self._nursery.start_soon(function, *args, name=name)

    def export(self, key: str, value: str) -> None: ...

    def capability(self, name: str) -> None: ...

    def platform(self, platform: Platform) -> None: ...


@dataclass
class Stand:
    """`kinds` is what the stores' contexts find; take GC out to be without one."""

    metadata: Metadata
    gc: CollectWhenAsked
    images: Images
    leases: Leases
    containers: Containers
    namespaces: Namespaces
    kinds: dict[str, Any]

    def without_gc(self) -> None:
        del self.kinds[GC.name]

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
    kinds: dict[str, Any] = {METADATA.name: metadata, GC.name: gc}
    async with AsyncExitStack() as stack:

        async def start(registration: Registration[T, NoConfig]) -> T:
            context = StandContext(registration.config(), kinds)
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
