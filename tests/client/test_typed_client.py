# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The trio client against the real server and dispatcher, with a toy service."""

from __future__ import annotations

import importlib
import os
import socket
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import trio
import trio.testing

from pluggd.client import Client, ConnectFailed, ConnectionLost, connect
from pluggd.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    NotFound,
    NotImplemented_,
    Unavailable,
)
from pluggd.model.record import Encoded
from pluggd.services import call
from pluggd.services.kind import Kind
from pluggd.services.rpc import Fd
from tests.client.rude_server import late_server, rude_server
from tests.core.server_kit import TOY, Point, Running, Shape, Tick, Toy, running


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[Running]:
    async with running("epoll", tmp_path) as server:
        yield server


@pytest.fixture
async def client(server: Running) -> AsyncGenerator[Client]:
    async with connect(server.address, namespace="mine") as client:
        yield client


@pytest.fixture
async def toy(client: Client) -> Toy:
    return client.get(TOY)


@pytest.mark.parametrize(
    "name",
    [
        *("containers", "content", "diff", "events", "gc", "images", "introspection"),
        *("leases", "management", "namespaces", "snapshots", "specs", "tasks"),
        *("transfer", "unpack"),
    ],
)
async def test_every_service_that_comes_along_has_a_member(
    client: Client, name: str
) -> None:
    service = importlib.import_module(f"pluggd.services.{name}")
    assert getattr(client, name) is client.get(getattr(service, name.upper()))


# --- calls


async def test_a_result_is_the_record_of_the_protocol(toy: Toy) -> None:
    assert await toy.get(name="p", scale=3) == Point(x=3, y=6)


async def test_records_and_bytes_go_as_arguments(toy: Toy) -> None:
    shape = Shape(name="s", corners=[Point(x=1)])
    answer = await toy.put(shape=shape, data=b"\x00\xff")
    assert answer == Shape(name="s:b'\\x00\\xff'", corners=[Point(x=1)])


async def test_a_name_that_python_reserves_is_called_by_its_python_name(
    toy: Toy,
) -> None:
    assert await toy.import_(text="a") == "A"


async def test_an_error_comes_back_as_its_class_with_its_text(toy: Toy) -> None:
    with pytest.raises(NotFound) as caught:
        await toy.get(name="q")
    assert str(caught.value) == 'point "q": not found'


async def test_a_bug_of_the_daemon_is_internal(toy: Toy) -> None:
    with pytest.raises(Internal):
        await toy.bug()


async def test_a_method_that_the_daemon_lacks_is_not_implemented(toy: Toy) -> None:
    with pytest.raises(NotImplemented_):
        await toy.newer()


async def test_an_argument_that_the_protocol_lacks_is_a_type_error(toy: Toy) -> None:
    with pytest.raises(TypeError, match="colour"):
        await toy.get(name="p", colour="red")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    with pytest.raises(TypeError, match="name"):
        await toy.get()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def test_a_kind_that_serves_nothing_has_no_stub(client: Client) -> None:
    class Silent: ...

    with pytest.raises(TypeError, match=r"pluggd\.silent\.v1"):
        client.get(Kind("pluggd.silent.v1", Silent))


async def test_many_calls_share_the_connection(toy: Toy) -> None:
    results: list[int] = []

    async def one(scale: int) -> None:
        results.append((await toy.get(name="p", scale=scale)).x)

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            for scale in range(500):
                nursery.start_soon(one, scale)
    assert sorted(results) == list(range(500))


# --- surroundings


async def test_the_namespace_is_that_of_the_client_or_of_the_block(toy: Toy) -> None:
    assert (await toy.who()).namespace == "mine"
    with call.using(namespace="other", lease="l1"):
        who = await toy.who()
    assert (who.namespace, who.lease, who.uid) == ("other", "l1", os.getuid())


async def test_without_any_namespace_the_daemon_refuses(server: Running) -> None:
    async with connect(server.address) as client:
        with pytest.raises(FailedPrecondition, match="namespace is required"):
            await client.get(TOY).who()


async def test_cancelling_cancels_in_the_daemon(server: Running, toy: Toy) -> None:
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: toy.sleep(seconds=60))
            while not server.toy.started:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        await server.settled()
        assert (await toy.get(name="p")).x == 1  # the connection is still in step
    assert server.toy.cancelled == 1


async def test_the_deadline_of_the_scope_is_told_to_the_daemon(
    toy: Toy, autojump_clock: trio.testing.MockClock
) -> None:
    start = trio.current_time()
    with pytest.raises((trio.TooSlowError, DeadlineExceeded)):  # whoever is first
        with trio.fail_after(5):
            await toy.sleep(seconds=3600)
    assert trio.current_time() - start < 6


async def test_a_deadline_is_sent_as_the_seconds_that_are_left(tmp_path: Path) -> None:
    async with rude_server(tmp_path, 1) as rude, connect(rude.address) as client:
        with trio.fail_after(70), pytest.raises(ConnectionLost):
            await client.get(TOY).sleep(seconds=60)
    ((arguments, metadata),) = (one.params for one in rude.requests)
    assert arguments == {"seconds": 60}
    assert 10 < metadata["timeout"] <= 70


# --- streams


async def test_items_arrive_in_order_with_credit(toy: Toy) -> None:
    send, receive = trio.open_memory_channel[Encoded[Tick]](0)
    seen: list[int] = []

    async def consume() -> None:
        seen.extend([item.value.n async for item in receive])

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(consume)
            async with send:
                await toy.ticks(count=1000, out=send)
    assert seen == list(range(1000))


async def test_a_slow_consumer_holds_the_daemon_back(server: Running, toy: Toy) -> None:
    send, receive = trio.open_memory_channel[Encoded[Tick]](0)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: toy.ticks(count=10_000, out=send))
            await receive.receive()
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert server.toy.ticks_sent <= 64 + 32 + 1
            nursery.cancel_scope.cancel()


async def test_a_consumer_that_is_gone_ends_the_call(server: Running, toy: Toy) -> None:
    send, receive = trio.open_memory_channel[Encoded[Tick]](0)
    receive.close()
    with trio.fail_after(10):
        with pytest.raises(trio.BrokenResourceError):
            await toy.ticks(count=10_000, out=send)
        await server.settled()


async def test_bytes_are_streamed_to_the_daemon_in_pieces_that_fit(toy: Toy) -> None:
    async def source() -> AsyncGenerator[bytes]:
        yield bytes(5 * 1024 * 1024)
        for _ in range(100):
            yield b"abc"

    with trio.fail_after(30):
        assert await toy.total(source=source()) == 5 * 1024 * 1024 + 300


async def test_an_error_in_the_source_is_the_callers_own(
    server: Running, toy: Toy
) -> None:
    async def source() -> AsyncGenerator[bytes]:
        yield b"a"
        raise ZeroDivisionError("of the caller")

    with trio.fail_after(10):
        with pytest.raises(ZeroDivisionError, match="of the caller"):
            await toy.total(source=source())
        await server.settled()


# --- descriptors


async def test_a_descriptor_comes_with_the_result(toy: Toy, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"content")
    opened = await toy.open(path=str(tmp_path / "f"))
    with os.fdopen(opened.fd, "rb") as file:
        assert file.read() == b"content"
        assert not os.get_inheritable(file.fileno())


async def test_a_descriptor_goes_with_the_call_and_stays_the_callers(
    toy: Toy, tmp_path: Path
) -> None:
    with (tmp_path / "f").open("wb") as file:
        await toy.write_to(fd=Fd(file.fileno()), text="a")
        await toy.write_to(fd=Fd(file.fileno()), text="b")
    assert (tmp_path / "f").read_bytes() == b"ab"


async def test_a_descriptor_that_comes_after_the_cancelling_is_closed(
    tmp_path: Path,
) -> None:
    reading, writing = os.pipe()
    with trio.fail_after(10):
        async with (
            late_server(tmp_path, writing) as late,
            connect(late.address) as client,
        ):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: client.get(TOY).open(path="/"))
                while not late.requests:
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            await client.get(TOY).sleep(seconds=0)
            os.close(writing)
            # The end of the pipe, as nobody has the other side open any more.
            assert os.read(reading, 1) == b""
    os.close(reading)


# --- the connection


async def test_an_address_with_nobody_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConnectFailed, match=r"gone\.sock: no such file"):
        async with connect(tmp_path / "gone.sock"):
            pass


async def test_a_listener_that_never_answers_is_given_up(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        with pytest.raises(ConnectFailed, match="does not answer"):
            async with connect(tmp_path / "s", timeout=0.05):
                pass


async def test_a_dead_connection_fails_every_pending_call(tmp_path: Path) -> None:
    failures: list[str] = []

    async def one(toy: Toy) -> None:
        try:
            await toy.sleep(seconds=60)
        except Unavailable as error:
            failures.append(str(error))

    with trio.fail_after(10):
        async with rude_server(tmp_path, 3) as rude, connect(rude.address) as client:
            toy = client.get(TOY)
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(one, toy)
            with pytest.raises(ConnectionLost):
                await toy.get(name="p")
    lost = f"connection to {rude.address} lost: the other end closed it"
    assert failures == [lost] * 3


async def test_an_error_in_the_block_comes_out_as_itself(server: Running) -> None:
    with pytest.raises(KeyError):
        async with connect(server.address):
            raise KeyError("mine")


async def test_calls_after_the_block_are_refused(server: Running) -> None:
    async with connect(server.address) as client:
        toy = client.get(TOY)
    with pytest.raises(ConnectionLost, match="closed here"):
        await toy.get(name="p")
