# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What leases keep, until when, and how deep."""

from __future__ import annotations

from pluggd.services import call
from pluggd.services.metadata import (
    FOREVER,
    Edge,
    Metadata,
    Transaction,
)
from pluggd.testing.conformance.base import Conformance
from pluggd.testing.conformance.metadata.graph import (
    HOUR,
    blob,
    collected,
    drop,
    exists,
    image,
    lease,
    prepare,
    snapshot,
    state,
)


class Leasing(Conformance):
    """What leases keep, until when, and how deep."""

    async def test_a_lease_keeps_what_it_holds_and_all_below(
        self, metadata: Metadata
    ) -> None:
        await prepare(metadata)
        await state(metadata, lease("l"), root_until=FOREVER)
        with call.using(lease="l"):
            await metadata.update(lambda txn: txn.hold(blob("a")))
            await state(metadata, blob("a"), [blob("b")])
        await state(metadata, blob("b"))
        assert await collected(metadata) == set()
        await metadata.update(lambda txn: txn.remove_edge(lease("l"), Edge(blob("a"))))
        assert await collected(metadata) == {blob("a"), blob("b")}
        assert exists(metadata, lease("l"))

    async def test_an_expired_lease_goes_with_what_it_held(
        self, metadata: Metadata
    ) -> None:
        await prepare(metadata)

        def change(txn: Transaction) -> None:
            txn.set_node(lease("l"), root_until=txn.now - 1)
            txn.add_edge(lease("l"), Edge(blob("a")))
            txn.set_node(lease("long"), root_until=txn.now + HOUR)
            txn.add_edge(lease("long"), Edge(blob("b")))
            txn.set_node(blob("a"))
            txn.set_node(blob("b"))

        await metadata.update(change)
        assert await collected(metadata) == {lease("l"), blob("a")}
        assert await collected(metadata) == set()

    async def test_the_next_expiry_is_known(self, metadata: Metadata) -> None:
        await prepare(metadata)
        assert metadata.next_expiry() is None
        later = metadata.read(lambda view: view.now) + HOUR
        await state(metadata, lease("b"), root_until=later + 5)
        await state(metadata, lease("a"), root_until=later)
        assert metadata.next_expiry() == later
        await state(metadata, lease("a"), root_until=later + 10)
        assert metadata.next_expiry() == later + 5
        await drop(metadata, lease("b"))
        assert metadata.next_expiry() == later + 10
        await state(metadata, lease("a"), root_until=FOREVER)
        assert metadata.next_expiry() is None

    async def test_below_a_flat_lease_only_structure_is_kept(
        self, metadata: Metadata
    ) -> None:
        await prepare(metadata)
        await state(metadata, lease("l"), root_until=FOREVER, flat=True)
        await metadata.update(
            lambda txn: txn.add_edge(lease("l"), Edge(blob("config")))
        )
        await metadata.update(
            lambda txn: txn.add_edge(lease("l"), Edge(snapshot("top")))
        )
        await state(metadata, blob("config"), [blob("layer"), snapshot("other")])
        parent = Edge(snapshot("base"), structural=True)
        await state(metadata, snapshot("top"), [parent, Edge(blob("note"))])
        await state(metadata, snapshot("base"), [blob("base-note")])
        for node in (blob("layer"), snapshot("other"), blob("note"), blob("base-note")):
            await state(metadata, node)
        gone = {blob("layer"), snapshot("other"), blob("note"), blob("base-note")}
        assert await collected(metadata) == gone

    async def test_what_only_a_flat_lease_keeps_lets_go_of_its_own(
        self,
        metadata: Metadata,
    ) -> None:
        await prepare(metadata)
        await state(metadata, lease("l"), [blob("manifest")], FOREVER, flat=True)
        await state(metadata, image("i"), [blob("manifest")], FOREVER)
        await state(metadata, blob("manifest"), [blob("layer")])
        await state(metadata, blob("layer"), [blob("manifest")])
        assert await collected(metadata) == set()
        await drop(metadata, image("i"))
        assert await collected(metadata) == {blob("layer")}
        assert exists(metadata, blob("manifest"))

    async def test_a_lease_that_becomes_flat_lets_go_below(
        self, metadata: Metadata
    ) -> None:
        await prepare(metadata)
        await state(metadata, lease("l"), [blob("a")], FOREVER)
        await state(metadata, blob("a"), [blob("b")])
        await state(metadata, blob("b"))
        assert await collected(metadata) == set()
        await state(metadata, lease("l"), [blob("a")], FOREVER, flat=True)
        assert await collected(metadata) == {blob("b")}
