# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The log of events, in the same transactions."""

from __future__ import annotations

import trio

from pluggd.model.record import decode
from pluggd.services.envelope import Envelope
from pluggd.services.metadata import (
    Metadata,
    Transaction,
)
from pluggd.testing.conformance.base import Conformance
from pluggd.testing.conformance.metadata.kit import Stop, emit


class Log(Conformance):
    """The log of events, in the same transactions."""

    async def test_events_are_numbered_in_one_order(self, metadata: Metadata) -> None:
        assert metadata.read(lambda view: view.event_bounds()) == (1, 0)
        await metadata.update(lambda txn: emit(txn, "/a", "/b"))
        await metadata.update(lambda txn: emit(txn, "/c"))
        assert metadata.read(lambda view: view.event_bounds()) == (1, 3)
        logged = metadata.read(lambda view: list(view.events(1)))
        envelopes = [decode(data, Envelope) for _, data in logged]
        assert [(one.seq, one.topic) for one in envelopes] == [(2, "/b"), (3, "/c")]
        first = envelopes[0]
        assert first.namespace == "ns"
        assert first.timestamp > 1_600_000_000_000_000_000
        assert first.event.type_url == "type"
        assert first.event.value == {"topic": "/b"}

    async def test_a_forwarded_event_keeps_its_time(self, metadata: Metadata) -> None:
        def change(txn: Transaction) -> int:
            return txn.append_event(
                timestamp=5, namespace="ns", topic="/t", type_url="type", value=None
            )

        assert await metadata.update(change) == 1
        ((_, data),) = metadata.read(lambda view: list(view.events(0)))
        assert decode(data, Envelope).timestamp == 5

    async def test_trimmed_events_are_gone_and_their_numbers_too(
        self, metadata: Metadata
    ) -> None:
        await metadata.update(lambda txn: emit(txn, "/a", "/b", "/c"))
        assert await metadata.update(lambda txn: txn.trim_events(3)) == 2
        assert metadata.read(lambda view: view.event_bounds()) == (3, 3)
        assert await metadata.update(lambda txn: txn.trim_events(100)) == 1
        assert metadata.read(lambda view: view.event_bounds()) == (4, 3)
        assert metadata.read(lambda view: list(view.events(0))) == []
        assert await metadata.update(lambda txn: txn.emit("ns", "/d", "type", 0)) == 4

    async def test_listeners_get_each_committed_event_once_and_in_order(
        self,
        metadata: Metadata,
    ) -> None:
        heard: list[tuple[int, bytes]] = []
        metadata.on_commit(heard.extend)

        async def change(number: int) -> None:
            def function(txn: Transaction) -> int:
                if number % 4 == 0:
                    emit(txn, "/lost")
                    raise Stop
                return txn.emit("ns", "/t", "type", number)

            try:
                seq = await metadata.update(function)
            except Stop:
                return
            assert seq in [one for one, _ in heard]

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for number in range(40):
                    nursery.start_soon(change, number)
        assert [seq for seq, _ in heard] == list(range(1, 31))
        assert heard == metadata.read(lambda view: list(view.events(0)))
