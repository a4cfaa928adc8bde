# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Pins: objects of one's own that keep blobs, for a time, and a count that is exact."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from pluggd.errors import NotFound
from pluggd.model.record import Encoded, Record, decode, encode
from pluggd.plugin import Context, NoConfig, Registration, hookimpl, inline
from pluggd.services import call
from pluggd.services.events import EVENTS, EventItem
from pluggd.services.kind import Kind
from pluggd.services.metadata import (
    CONTENT,
    METADATA,
    Edge,
    Metadata,
    Node,
    ResourceType,
    Transaction,
)
from pluggd.services.rpc import rpc

TABLE = "example_pins"
PIN = "example.pin"
SECOND = 1_000_000_000


class Pin(Record, frozen=True):
    name: str = ""
    digest: str = ""


class Cursor(Record, frozen=True):
    """The last event that was counted, and the count with it."""

    seq: int = 0
    images: int = 0


class Pins:
    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata

    @rpc(result="pin")
    async def pin(self, *, name: str, digest: str, seconds: int) -> Pin:
        """Keep a blob, and whatever it refers to, for so long."""
        namespace, pin = call.namespace(), Pin(name=name, digest=digest)

        def write(txn: Transaction) -> Pin:
            txn.put(TABLE, namespace, name, encode(pin))
            txn.set_node(
                Node(PIN, namespace, name),
                [Edge(Node(CONTENT, namespace, digest))],
                root_until=txn.now + seconds * SECOND,
            )
            return pin

        return await self._metadata.update(write)

    @rpc()
    async def unpin(self, *, name: str) -> None:
        """Let go at once. Raises NotFound."""
        namespace = call.namespace()

        def write(txn: Transaction) -> None:
            if not txn.delete(TABLE, namespace, name):
                raise NotFound(f'pin "{name}": not found')
            txn.drop_node(Node(PIN, namespace, name))

        await self._metadata.update(write)

    @rpc(result="images", namespaced=False)
    @inline
    def images(self) -> int:
        """How many images were ever created, restarts or not."""
        return self.cursor().images

    def collect(self, txn: Transaction, node: Node) -> None:
        """A pin whose time is over: the collector has asked, its node goes by itself."""
        txn.delete(TABLE, node.namespace, node.name)
        txn.emit(node.namespace, "/pins/expire", "example.Pin", {"name": node.name})

    def cursor(self) -> Cursor:
        found = self._metadata.read(lambda view: view.get(TABLE, "", "cursor"))
        return Cursor() if found is None else decode(found, Cursor)

    async def send(self, value: Encoded[EventItem], /) -> None:
        envelope = value.value.envelope
        if envelope is None:
            return

        def count(txn: Transaction) -> None:
            # The place and the count in one transaction: never twice, never missed.
            images = self.cursor().images + 1
            written = Cursor(seq=envelope.seq, images=images)
            txn.put(TABLE, "", "cursor", encode(written))

        await self._metadata.update(count)


PINS = Kind("example.pins.v1", Pins)


@asynccontextmanager
async def start(ctx: Context[NoConfig]) -> AsyncGenerator[Pins]:
    metadata, events = ctx.get(METADATA), ctx.get(EVENTS)
    await metadata.open_table(TABLE)
    pins = Pins(metadata)
    ctx.on_stop(metadata.register(ResourceType(PIN, "pins", pins.collect)))

    async def follow() -> None:
        filters = ['topic=="/images/create"']
        await events.subscribe(filters=filters, since=pins.cursor().seq, out=pins)

    ctx.spawn(follow)
    yield pins


@hookimpl
def pluggd_register() -> Registration[Pins, NoConfig]:
    return Registration(
        provides=PINS, id="mine", start=start, requires=(METADATA, EVENTS)
    )
