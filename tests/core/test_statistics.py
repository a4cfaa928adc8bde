# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a server counts, on both forms of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import get_args

import pytest
import trio

from pluggd.core.statistics import BOUNDS, MethodStatistics
from pluggd.model.figures import LATENCY
from pluggd.wire.encoder import encode_notification
from tests.core.server_kit import Form, Running, running

URI = "pluggd.toy.v1.test"


@pytest.fixture(params=get_args(Form))
async def server(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncGenerator[Running]:
    async with running(request.param, tmp_path) as server:
        yield server


def counted(server: Running, method: str) -> MethodStatistics:
    plugin = URI if method.startswith("toy.") else ""
    return server.dispatcher.statistics.method(method, plugin)


def test_the_bounds_are_those_that_are_shown() -> None:
    assert [bound / 1e9 for bound in BOUNDS] == pytest.approx(LATENCY)
    assert list(BOUNDS) == sorted(set(BOUNDS))


@pytest.mark.parametrize(
    ("method", "arguments"), [("get", {"name": "p"}), ("import", {"text": "a"})]
)
async def test_a_call_is_counted_once_with_its_duration(
    server: Running, method: str, arguments: dict[str, str]
) -> None:
    client = await server.connect()
    for _ in range(3):
        await client.result(f"toy.v1.{method}", **arguments)
    await server.settled()
    counters = counted(server, f"toy.v1.{method}")
    assert counters.calls == 3
    assert counters.in_flight == 0
    assert counters.nanoseconds > 0
    assert not counters.errors
    assert server.dispatcher.statistics.requests == 3


async def test_a_request_of_a_batch_has_its_own_time_only(server: Running) -> None:
    client = await server.connect()
    batch = [client.request("toy.v1.get", {"name": "p"}) for _ in range(100)]
    await client.send(b"".join(batch))
    before = trio.current_time()
    for _ in batch:
        await client.response()
    await server.settled()
    counters = counted(server, "toy.v1.get")
    assert counters.calls == 100
    # Were each to begin with the batch, the sum would be some fifty times the whole.
    assert counters.nanoseconds / 1e9 < 10 * (trio.current_time() - before)


async def test_errors_are_counted_by_method_and_code(server: Running) -> None:
    client = await server.connect()
    await client.error("toy.v1.get", name="q")
    await client.error("toy.v1.get", nme="q")
    await client.error("toy.v1.bug")
    await client.error("toy.v1.inline_bug")
    await server.settled()
    assert counted(server, "toy.v1.get").errors == {
        "not_found": 1,
        "invalid_argument": 1,
    }
    assert counted(server, "toy.v1.get").calls == 2
    for bug in ("toy.v1.bug", "toy.v1.inline_bug"):
        assert counted(server, bug).errors == {"internal": 1}
    assert server.dispatcher.statistics.errors.total() == 4


async def test_what_clients_make_up_is_counted_under_one_name(server: Running) -> None:
    client = await server.connect()
    for number in range(5):
        await client.error(f"toy.v1.made_up_{number}")
        await client.error(f"made_up_{number}.v1.get")
    assert counted(server, "unknown").errors == {"not_implemented": 10}
    names = {one.name for one in server.dispatcher.statistics.methods()}
    assert not any("made_up" in name for name in names)


async def test_a_call_that_waits_is_in_flight_until_it_ends(server: Running) -> None:
    client = await server.connect("error_map")
    await client.send(client.request("toy.v1.sleep", {"seconds": 1000}))
    await client.result("toy.v1.get", name="p")
    counters = counted(server, "toy.v1.sleep")
    assert (counters.in_flight, counters.calls) == (1, 0)
    client.close()
    await server.settled()
    assert (counters.in_flight, counters.calls) == (0, 1)


@pytest.mark.parametrize("end", ["cancel", "close"])
async def test_the_end_of_what_waits_is_no_error(server: Running, end: str) -> None:
    """`ticks` waits for what may never come, `sleep` does not."""
    client = await server.connect()
    ticks = client.request("toy.v1.ticks", {"count": 1000})
    sleep = client.request("toy.v1.sleep", {"seconds": 1000})
    await client.send(ticks + sleep)
    await client.result("toy.v1.get", name="p")
    if end == "cancel":
        for msgid in (0, 1):
            await client.send(encode_notification("$/cancel", [msgid]))
            assert str((await client.response()).error).startswith("canceled: ")
    client.close()
    await server.settled()
    assert counted(server, "toy.v1.ticks").calls == 1
    assert not counted(server, "toy.v1.ticks").errors
    sleep_errors = counted(server, "toy.v1.sleep").errors
    if end == "cancel":  # the plain server ends the tasks of who is gone as they are
        assert sleep_errors == {"canceled": 1}
    assert server.dispatcher.statistics.errors == sleep_errors


async def test_a_stream_is_counted_as_long_as_it_is_open(server: Running) -> None:
    client = await server.connect()
    await client.send(client.request("toy.v1.ticks", {"count": 1000}))
    await client.result("toy.v1.get", name="p")
    assert server.dispatcher.statistics.streams == 1
    client.close()
    await server.settled()
    assert server.dispatcher.statistics.streams == 0


async def test_bytes_are_those_on_the_socket(server: Running) -> None:
    client = await server.connect()
    request = client.request("toy.v1.blob", {"size": 100_000})
    await client.send(request)
    await client.response()
    statistics = server.dispatcher.statistics
    assert statistics.bytes_in == len(request)
    assert 100_000 < statistics.bytes_out < 100_100


async def test_the_name_of_a_task_says_whose_method_it_runs(server: Running) -> None:
    client = await server.connect()
    await client.send(client.request("toy.v1.sleep", {"seconds": 1000}))
    await client.result("toy.v1.get", name="p")
    names: list[str] = []

    def walk(task: trio.lowlevel.Task) -> None:
        names.append(task.name)
        for nursery in task.child_nurseries:
            for child in nursery.child_tasks:
                walk(child)

    root = trio.lowlevel.current_root_task()
    assert root is not None
    walk(root)
    assert f"{URI}: toy.v1.sleep, request c1.0" in names
