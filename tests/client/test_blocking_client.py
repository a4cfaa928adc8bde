# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The blocking client against the real server, from a thread."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import TypeVar

import pytest
import trio

from pluggd.client.blocking import Client
from pluggd.client.lost import ConnectFailed, ConnectionLost
from pluggd.errors import DeadlineExceeded, FailedPrecondition, NotFound
from tests.client.rude_server import rude_server
from tests.core.server_kit import Running, running

T = TypeVar("T")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[Running]:
    async with running("epoll", tmp_path) as server:
        yield server


async def using(server: Running, function: Callable[[Client], T]) -> T:
    """The function in a thread, as the server needs this one."""

    def run() -> T:
        with Client(server.address, namespace="mine") as client:
            return function(client)

    with trio.fail_after(20):
        return await trio.to_thread.run_sync(run)


async def test_it_starts_without_trio_msgspec_and_rich() -> None:
    code = (
        "import sys, pluggd.client.blocking, pluggd.client\n"
        "pluggd.client.blocking.Client\n"
        "heavy = {'trio', 'msgspec', 'rich', 'asyncio'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    await trio.run_process([sys.executable, "-c", code])


async def test_a_call_gives_the_result_map(server: Running) -> None:
    def calls(client: Client) -> None:
        assert client.features == {"error_map", "fds", "streams"}
        answer = client.call("toy.v1.get", {"name": "p", "scale": 2})
        assert answer == {"point": {"x": 2, "y": 4}}
        assert client.call("toy.v1.sleep", {"seconds": 0.0}) == {}

    await using(server, calls)


async def test_an_error_is_raised_as_its_class(server: Running) -> None:
    def calls(client: Client) -> None:
        with pytest.raises(NotFound, match=r'^point "q": not found$'):
            client.call("toy.v1.get", {"name": "q"})

    await using(server, calls)


async def test_namespace_and_lease_go_with_the_call(server: Running) -> None:
    def calls(client: Client) -> None:
        assert client.call("toy.v1.who")["namespace"] == "mine"
        who = client.call("toy.v1.who", namespace="other", lease="l")
        assert (who["namespace"], who["lease"]) == ("other", "l")

    await using(server, calls)


async def test_a_timeout_is_the_daemons_to_keep(server: Running) -> None:
    def calls(client: Client) -> None:
        with pytest.raises(DeadlineExceeded):
            client.call("toy.v1.sleep", {"seconds": 60}, timeout=0.05)

    await using(server, calls)
    # It may be over before it began.
    assert server.toy.cancelled == server.toy.started


async def test_a_stream_gives_items_and_then_its_result(server: Running) -> None:
    def calls(client: Client) -> None:
        with client.stream("toy.v1.ticks", {"count": 500}) as ticks:
            assert [tick.get("n", 0) for tick in ticks] == list(range(500))
            assert ticks.result == {}
        with client.stream("toy.v1.fetch", {"size": 9}) as data:
            assert list(data) == [b"x" * 9]
            assert data.result == {"sent": 9}

    await using(server, calls)


async def test_a_stream_that_is_left_is_cancelled(server: Running) -> None:
    def calls(client: Client) -> None:
        with client.stream("toy.v1.ticks", {"count": 10_000}) as ticks:
            for tick in ticks:
                if tick.get("n") == 3:
                    break
        assert client.call("toy.v1.get", {"name": "p"})["point"]["x"] == 1

    await using(server, calls)
    assert server.toy.ticks_sent < 1000


async def test_an_upload_sends_chunks_with_credit(server: Running) -> None:
    def calls(client: Client) -> None:
        chunks = (b"x" * 100_000 for _ in range(100))
        answer = client.upload("toy.v1.total", {}, chunks)
        assert answer == {"total": 10_000_000}

    await using(server, calls)


async def test_descriptors_go_both_ways(server: Running, tmp_path: Path) -> None:
    def calls(client: Client) -> None:
        path = tmp_path / "f"
        with path.open("wb") as file:
            fds = [file.fileno()]
            client.call("toy.v1.write_to", {"fd": 0, "text": "hello"}, fds=fds)
        opened = client.call("toy.v1.open", {"path": str(path)})
        with os.fdopen(opened["fd"], "rb") as back:
            assert back.read() == b"hello"
            assert not os.get_inheritable(back.fileno())

    await using(server, calls)


async def test_descriptors_need_the_features_consent(server: Running) -> None:
    def run() -> None:
        with (
            Client(server.address, features=["streams"]) as client,
            pytest.raises(FailedPrecondition, match="does not pass file descriptors"),
        ):
            client.call("toy.v1.write_to", {"fd": 0, "text": ""}, fds=[0])

    await trio.to_thread.run_sync(run)


async def test_an_address_with_nobody_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConnectFailed, match=r"gone\.sock: no such file"):
        Client(tmp_path / "gone.sock")


async def test_a_daemon_that_goes_away_is_connection_lost(tmp_path: Path) -> None:
    def calls(address: str) -> None:
        with Client(address) as client:
            with pytest.raises(ConnectionLost, match="closed the connection"):
                client.call("toy.v1.get")
            assert client.closed

    with trio.fail_after(10):
        async with rude_server(tmp_path, 1) as server:
            await trio.to_thread.run_sync(calls, server.address)


async def test_a_client_that_was_closed_says_so(server: Running) -> None:
    def calls(client: Client) -> None:
        client.close()
        for _ in range(2):
            with pytest.raises(ConnectionLost, match="it was closed here"):
                client.call("toy.v1.get", {"name": "p"})

    await using(server, calls)
