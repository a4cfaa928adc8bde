# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A stream to the caller: credit, order and the end, however many items go at once."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from pluggd.core.calls import PIECE, SendStream
from pluggd.model.record import Encoded, encode
from pluggd.services.rpc import SendMany
from pluggd.services.schema import Stream
from pluggd.wire.decoder import Decoder
from pluggd.wire.limits import Limits
from pluggd.wire.messages import ITEM, Notification


class FakeLine:
    """Keeps what was sent; congested while `behind` is set."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.behind = False
        self._lot = trio.lowlevel.ParkingLot()

    @property
    def congested(self) -> bool:
        return self.behind

    async def drained(self) -> None:
        await self._lot.park()

    def catch_up(self) -> None:
        self.behind = False
        self._lot.unpark_all()

    def send(self, data: bytes, tail: bytes | memoryview = b"") -> None:
        self.sent.append(data + tail)

    def items(self) -> list[Any]:
        messages = Decoder(Limits()).feed(b"".join(self.sent))
        found: list[Any] = []
        for message in messages:
            assert isinstance(message, Notification)
            assert message.method == ITEM
            msgid, value = message.params
            assert msgid == 7
            found.append(value)
        return found


def stream(line: FakeLine, credit: int) -> SendStream:
    return SendStream(
        line, 7, Stream(attribute="out", item=str, credit=credit, chunk=0)
    )


def encoded(values: list[Any]) -> list[Encoded[Any]]:
    return [Encoded(encode(value), object) for value in values]


def test_the_stream_of_the_server_takes_many() -> None:
    assert isinstance(stream(FakeLine(), 1), SendMany)


async def test_many_items_arrive_one_by_one_and_in_order() -> None:
    line = FakeLine()
    await stream(line, 10).send_many(encoded(["a", "b", "c"]))
    assert line.items() == ["a", "b", "c"]
    assert len(line.sent) == 1


async def test_many_items_wait_for_credit(autojump_clock: trio.abc.Clock) -> None:
    line = FakeLine()
    out = stream(line, 2)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(out.send_many, encoded(list(range(5))))
            await trio.testing.wait_all_tasks_blocked()
            assert line.items() == [0, 1]
            out.add_credit(1)
            await trio.testing.wait_all_tasks_blocked()
            assert line.items() == [0, 1, 2]
            out.add_credit(10)
    assert line.items() == [0, 1, 2, 3, 4]


async def test_many_items_look_at_the_queue_after_each_piece() -> None:
    line = FakeLine()
    out = stream(line, 10)
    large = "x" * PIECE
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            line.behind = True
            nursery.start_soon(out.send_many, encoded([large, large]))
            await trio.testing.wait_all_tasks_blocked()
            assert line.sent == []
            line.catch_up()
    assert [len(item) for item in line.items()] == [PIECE, PIECE]
    assert len(line.sent) == 2


async def test_many_items_for_nobody_are_refused() -> None:
    out = stream(FakeLine(), 10)
    out.close()
    with pytest.raises(trio.BrokenResourceError):
        await out.send_many(encoded(["a"]))
