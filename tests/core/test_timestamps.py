# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The feature `timestamp`: what a connection that agreed on it sees, and no other."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest
import trio
from msgpack import ExtType, Timestamp

from pluggd.core.dispatch import Dispatcher
from pluggd.core.timed import timed_method
from pluggd.model.record import Encoded, Record, encode
from pluggd.model.types import Any as Free
from pluggd.model.types import Time
from pluggd.plugin import Deferred, deferred, inline, inline_encoded
from pluggd.services.kind import Kind
from pluggd.services.rpc import Batch, Fd, Receive, Send, SendMany, Unfinished, rpc
from pluggd.wire.encoder import (
    LARGE,
    encode_notification,
    encode_request,
    encode_value,
)
from pluggd.wire.limits import Limits
from tests.core.server_kit import Form, RawClient, Running, running

NS = 1_764_322_000_123_456_789
STAMP = Timestamp.from_unix_nano(NS)


class Lap(Record, frozen=True):
    name: str = ""
    at: Time = 0
    free: Free | None = None


class Race(Record, frozen=True):
    laps: list[Lap] = []
    best: Lap | None = None
    by_name: dict[str, Lap] = {}


class Piece(Record, frozen=True):
    at: Time = 0
    data: bytes = b""


class Opened(Record, frozen=True):
    at: Time
    fd: Fd


RACE = Race(
    laps=[Lap(name="a", at=NS), Lap(name="b")],
    best=Lap(at=NS, free=Free(value={"at": NS})),
    by_name={"a": Lap(at=NS)},
)
STAMPED = {
    "laps": [{"name": "a", "at": STAMP}, {"name": "b"}],
    "best": {"at": STAMP, "free": {"value": {"at": NS}}},
    "by_name": {"a": {"at": STAMP}},
}


class Clock(Protocol):
    """Times in every sort of method."""

    @rpc(namespaced=False)
    async def direct(self) -> Race: ...

    @rpc(result="race", namespaced=False)
    async def stored(self) -> Race: ...

    @rpc(namespaced=False)
    async def handed_on(self) -> Race: ...

    @rpc(namespaced=False)
    async def task(self) -> Race: ...

    @rpc(namespaced=False)
    async def unfinished(self) -> Race: ...

    @rpc(namespaced=False)
    async def open(self) -> Opened: ...

    @rpc(namespaced=False)
    async def piece(self) -> Piece: ...

    @rpc(result="at", namespaced=False)
    async def zero(self) -> Time: ...

    @rpc(result="laps", namespaced=False)
    async def many(self, *, count: int) -> list[Lap]: ...

    @rpc(namespaced=False)
    async def timeless(self, *, n: int = 0) -> None: ...

    @rpc(result="laps", namespaced=False)
    async def put(
        self,
        *,
        laps: Sequence[Lap] = (),
        at: Time | None = None,
        n: int = 0,
        values: Sequence[Any] = (),
    ) -> list[str]: ...

    @rpc(namespaced=False, waits=True)
    async def ticks(self, *, how: str, out: Send[Encoded[Lap]]) -> None: ...

    @rpc(result="seen", namespaced=False)
    async def collect(self, *, source: Receive[Lap]) -> list[str]: ...


CLOCK = Kind("pluggd.clock.v1", Clock)


class ClockService:
    @inline
    def direct(self) -> Race:
        return RACE

    @inline_encoded
    def stored(self) -> Encoded[Race]:
        return Encoded(encode(RACE), Race)

    @deferred
    def handed_on(self) -> Deferred[Encoded[Race]]:
        outcome = Deferred[Encoded[Race]]()
        outcome.succeed(Encoded(encode(RACE), Race))
        return outcome

    async def task(self) -> Race:
        await trio.lowlevel.checkpoint()
        return RACE

    @inline_encoded
    def unfinished(self) -> Unfinished[Race]:
        async def finish() -> Encoded[Race]:
            await trio.lowlevel.checkpoint()
            return Encoded(encode(RACE), Race)

        return Unfinished(finish)

    async def open(self) -> Opened:
        await trio.lowlevel.checkpoint()
        return Opened(at=NS, fd=Fd(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)))

    async def piece(self) -> Piece:
        return Piece(at=NS, data=bytes(LARGE))

    @inline
    def zero(self) -> int:
        return 0

    @inline
    def many(self, *, count: int) -> list[Lap]:
        return [Lap(at=-NS)] * count

    @inline
    def timeless(self, *, n: int = 0) -> None:
        return None

    @inline
    def put(
        self,
        *,
        laps: Sequence[Lap] = (),
        at: int | None = None,
        n: int = 0,
        values: Sequence[Any] = (),
    ) -> list[str]:
        return [repr(at), *(repr(lap.at) for lap in laps)]

    async def ticks(self, *, how: str, out: Send[Encoded[Lap]]) -> None:
        items = [Encoded(encode(Lap(at=NS + n)), Lap) for n in range(2)]
        if how == "one by one":
            for item in items:
                await out.send(item)
            return
        assert isinstance(out, SendMany)
        if how == "many":
            await out.send_many(items)
        else:
            assert out.send_now(Batch(items))

    async def collect(self, *, source: Receive[Lap]) -> list[str]:
        return [repr(lap.at) async for lap in source]


@pytest.fixture(params=["epoll", "streams"])
def form(request: pytest.FixtureRequest) -> Form:
    form: Form = request.param
    return form


@pytest.fixture
async def server(form: Form, tmp_path: Path) -> AsyncGenerator[Running]:
    dispatcher = Dispatcher(version="1.2.3")
    dispatcher.add(CLOCK, ClockService(), "pluggd.clock.v1.test")
    async with running(form, tmp_path, dispatcher=dispatcher) as server:
        yield server


@pytest.mark.parametrize("name", ["direct", "handed_on", "task", "unfinished"])
async def test_every_sort_of_method_answers_with_timestamps(
    server: Running, name: str
) -> None:
    client = await server.connect("timestamp")
    assert await client.result(f"clock.v1.{name}") == STAMPED


async def test_a_stored_record_leaves_with_timestamps(server: Running) -> None:
    client = await server.connect("timestamp")
    assert await client.result("clock.v1.stored") == {"race": STAMPED}


async def test_a_time_that_must_stand_and_was_never_set_is_the_epoch(
    server: Running,
) -> None:
    client = await server.connect("timestamp")
    assert await client.result("clock.v1.zero") == {"at": Timestamp(0)}


async def test_a_time_may_stand_beside_a_descriptor(server: Running) -> None:
    client = await server.connect("fds", "timestamp")
    assert await client.result("clock.v1.open") == {"at": STAMP, "fd": 0}
    os.close(client.fds.pop())


async def test_a_time_may_stand_before_bytes_that_are_many(server: Running) -> None:
    client = await server.connect("timestamp")
    assert await client.result("clock.v1.piece") == {"at": STAMP, "data": bytes(LARGE)}


async def raw_answer(client: RawClient, method: str) -> bytes:
    await client.send(encode_request(1, method))
    with trio.fail_after(20):
        return await client.sock.recv(65536)


@pytest.mark.parametrize("name", ["direct", "stored", "handed_on", "task"])
async def test_who_did_not_ask_gets_the_very_bytes_of_the_record(
    server: Running, name: str
) -> None:
    other = await server.connect("timestamp")
    await other.result(f"clock.v1.{name}")
    client = await server.connect()
    result = encode(RACE)
    if name == "stored":
        result = b"\x81\xa4race" + result
    assert await raw_answer(client, f"clock.v1.{name}") == b"\x94\x01\x01\xc0" + result


async def test_another_hello_takes_it_back(server: Running) -> None:
    client = await server.connect("timestamp")
    await client.result("rpc.v1.hello")
    assert await client.result("clock.v1.zero") == {"at": 0}


def test_a_method_without_times_is_served_to_all_alike() -> None:
    dispatcher = Dispatcher()
    dispatcher.add(CLOCK, ClockService())
    for name in ("clock.v1.timeless", "rpc.v1.hello"):
        assert timed_method(dispatcher, name) is dispatcher.method(name)
    timed = timed_method(dispatcher, "clock.v1.direct")
    assert timed is not dispatcher.method("clock.v1.direct")
    assert timed is timed_method(dispatcher, "clock.v1.direct")


async def test_what_is_too_large_with_timestamps_is_refused(
    form: Form, tmp_path: Path
) -> None:
    dispatcher = Dispatcher(Limits(message_size=20_000))
    dispatcher.add(CLOCK, ClockService())
    async with running(form, tmp_path, dispatcher=dispatcher) as server:
        for client, error in (
            (await server.connect(), False),
            (await server.connect("timestamp"), True),
        ):
            answer = await client.call("clock.v1.many", {"count": 1300})
            assert (answer.error is not None) is error
        assert answer.error.startswith("resource_exhausted: clock.v1.many: the result")


# --- streams


@pytest.mark.parametrize("how", ["one by one", "many", "now"])
async def test_items_leave_with_timestamps(server: Running, how: str) -> None:
    for features, times in (
        (["timestamp"], [STAMP, Timestamp.from_unix_nano(NS + 1)]),
        ([], [NS, NS + 1]),
    ):
        client = await server.connect(*features)
        await client.result("clock.v1.ticks", how=how)
        items = [note.params[1] for note in client.notifications]
        assert items == [{"at": time} for time in times]


async def collected(client: RawClient, *items: object) -> Any:
    request = client.request("clock.v1.collect")
    (msgid,) = [int(request[2])]
    await client.send(request)
    for item in items:
        await client.send(encode_notification("$/item", [msgid, item]))
    await client.send(encode_notification("$/end", [msgid]))
    answer = await client.response()
    return answer.error or answer.result["seen"]


async def test_items_of_the_caller_may_have_either_form(server: Running) -> None:
    client = await server.connect("timestamp")
    seen = await collected(client, {"at": STAMP}, {"at": 5}, {})
    assert seen == [str(NS), "5", "0"]


async def test_an_item_that_is_wrong_is_named(server: Running) -> None:
    client = await server.connect("timestamp")
    error = await collected(client, {"at": Timestamp(2**40)})
    assert error.startswith(
        'invalid_argument: clock.v1.collect: item: field "at" is out of range'
    )
    plain = await server.connect()
    error = await collected(plain, {"at": STAMP})
    assert error.startswith(
        'invalid_argument: clock.v1.collect: item: field "at" is a timestamp; agree on'
    )


# --- arguments


@pytest.mark.parametrize("time", [STAMP, NS])
async def test_arguments_take_either_form(server: Running, time: object) -> None:
    client = await server.connect("timestamp")
    result = await client.result("clock.v1.put", laps=[{"at": time}, {}], at=time)
    assert result == {"laps": [str(NS), str(NS), "0"]}


async def test_nil_is_an_absent_time(server: Running) -> None:
    client = await server.connect("timestamp")
    result = await client.result("clock.v1.put", laps=[{"at": None}], at=None)
    assert result == {"laps": ["None", "0"]}


NO_EXTENSION = "holds an extension type; values are nil, bool, int, float, str, bin"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"at": Timestamp(2**40)}, '"at" is out of range: times are nanoseconds in'),
        ({"at": ExtType(5, b"x")}, '"at" is an extension of type 5; a time is a time'),
        ({"laps": [{"at": ExtType(5, b"x")}]}, '"laps.0.at" is an extension of type 5'),
        ({"n": STAMP}, f'"n" {NO_EXTENSION}, array and map, and a timestamp where the'),
        ({"n": ExtType(5, b"x")}, f'"n" {NO_EXTENSION}'),
        ({"laps": [{"name": STAMP}]}, f'"laps.0.name" {NO_EXTENSION}'),
        ({"laps": STAMP}, f'"laps" {NO_EXTENSION}'),
        (
            {"laps": [{"free": {"value": [STAMP]}}]},
            '"laps.0.free.value.0" holds an ext',
        ),
        ({"values": ExtType(5, b"x")}, f'"values" {NO_EXTENSION}'),
        ({"at": "now"}, '"at": expected int | nil, got str'),
    ],
)
async def test_what_is_no_time_is_refused_by_its_path(
    server: Running, arguments: dict[str, Any], text: str
) -> None:
    client = await server.connect("timestamp")
    error = await client.error("clock.v1.put", **arguments)
    assert error.startswith(f"invalid_argument: clock.v1.put: argument {text}")


@pytest.mark.parametrize(
    ("arguments", "path"),
    [({"at": STAMP}, "at"), ({"laps": [{}, {"at": STAMP}]}, "laps.1.at")],
)
async def test_who_did_not_agree_is_told_how_to(
    server: Running, arguments: dict[str, Any], path: str
) -> None:
    client = await server.connect()
    assert await client.error("clock.v1.put", **arguments) == (
        f'invalid_argument: clock.v1.put: argument "{path}" is a timestamp; agree on'
        ' the feature "timestamp" with rpc.v1.hello first, or send nanoseconds as an'
        " int"
    )


async def test_who_did_not_agree_gets_extensions_refused_elsewhere_as_well(
    server: Running,
) -> None:
    client = await server.connect()
    error = await client.error("clock.v1.put", n=ExtType(5, b"x"))
    assert error == (
        f'invalid_argument: clock.v1.put: argument "n" {NO_EXTENSION}, array and map'
    )


async def test_a_timestamp_of_no_known_form_is_no_message(server: Running) -> None:
    client = await server.connect("timestamp")
    request = encode_value([0, 9, "clock.v1.put", [{"at": ExtType(4, b"xyz")}]])
    await client.send(request.replace(b"\xc7\x03\x04xyz", b"\xc7\x03\xffxyz"))
    answer = await client.response()
    assert answer.msgid == 9
    assert "invalid timestamp data (length 3)" in answer.error
    assert await client.message() is None
