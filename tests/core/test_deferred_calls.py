# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Methods that hand their work on and are answered when it is done."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import trio
import trio.testing

from pluggd.errors import NotFound, ResourceExhausted
from pluggd.plugin import Deferred
from pluggd.wire.encoder import encode_fds, encode_notification, encode_request
from pluggd.wire.limits import Limits
from tests.core.server_kit import Form, Running, ToyService, running

FORMS: list[Form] = ["epoll", "streams"]


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> Form:
    form: Form = request.param
    return form


@pytest.fixture
async def server(form: Form, tmp_path: Path) -> AsyncGenerator[Running]:
    async with running(form, tmp_path) as server:
        yield server


async def test_each_is_answered_with_its_own_outcome_in_any_order(
    server: Running,
) -> None:
    client = await server.connect()
    for text in ("a", "b", "c"):
        await client.send(client.request("toy.v1.later", {"text": text}))
    await server.handed_on(3)
    assert [text for text, _ in server.toy.handed_on] == ["a", "b", "c"]
    outcomes = [outcome for _, outcome in server.toy.handed_on]
    outcomes[2].succeed("C")
    outcomes[0].fail(ResourceExhausted("no room"))
    outcomes[1].succeed("B")
    found = [await client.response() for _ in range(3)]
    assert [(one.msgid, one.error, one.result) for one in found] == [
        (2, None, {"text": "C"}),
        (0, "resource_exhausted: no room", None),
        (1, None, {"text": "B"}),
    ]
    assert server.dispatcher.statistics.in_flight == 0


async def test_what_is_done_at_once_is_answered_at_once(server: Running) -> None:
    client = await server.connect()
    assert await client.result("toy.v1.later", text="now") == {"text": "now"}
    assert await client.error("toy.v1.later", text="no") == "not_found: no: not found"
    assert server.dispatcher.statistics.in_flight == 0


async def test_a_bug_is_one_calls_error(server: Running) -> None:
    client = await server.connect()
    await client.send(client.request("toy.v1.later", {"text": "a"}))
    await server.handed_on(1)
    server.toy.handed_on[0][1].fail(RuntimeError("secret of the daemon"))
    response = await client.response()
    assert response.error.startswith("internal: toy.v1.later: internal error")
    assert "secret" not in response.error
    await client.result("toy.v1.get", name="p")


async def test_a_cancelled_one_is_answered_once(server: Running) -> None:
    client = await server.connect()
    await client.send(client.request("toy.v1.later", {"text": "a"}))
    await client.send(encode_notification("$/cancel", [0]))
    response = await client.response()
    assert response.error == "canceled: toy.v1.later: canceled by the caller"
    server.toy.handed_on[0][1].succeed("a")
    assert (await client.call("toy.v1.get", {"name": "p"})).msgid == 1
    assert server.dispatcher.statistics.in_flight == 0


async def test_a_timeout_ends_it_and_keeps_its_place(
    server: Running, autojump_clock: trio.testing.MockClock
) -> None:
    client = await server.connect()
    timed = encode_request(0, "toy.v1.later", {"text": "a"}, {"timeout": 0.5})
    await client.send(timed + encode_request(1, "toy.v1.later", {"text": "b"}))
    response = await client.response()
    assert (response.msgid, response.error) == (
        0,
        "deadline_exceeded: toy.v1.later: not done within the timeout of 0.5 s",
    )
    assert [text for text, _ in server.toy.handed_on] == ["a", "b"]
    server.toy.handed_on[1][1].succeed("b")
    assert (await client.response()).msgid == 1


async def test_one_that_is_done_in_time_leaves_no_watch_behind(
    server: Running, autojump_clock: trio.testing.MockClock
) -> None:
    client = await server.connect()
    await client.result("toy.v1.get", name="p")
    tasks = trio.lowlevel.current_statistics().tasks_living
    await client.send(encode_request(9, "toy.v1.later", {"text": "a"}, {"timeout": 60}))
    await server.handed_on(1)
    server.toy.handed_on[0][1].succeed("a")
    assert (await client.response()).result == {"text": "a"}
    await trio.testing.wait_all_tasks_blocked()
    assert trio.lowlevel.current_statistics().tasks_living == tasks


async def test_its_number_and_its_share_are_taken_until_it_is_done(
    form: Form, tmp_path: Path
) -> None:
    async with running(form, tmp_path, limits=Limits(requests=2)) as server:
        client = await server.connect()
        await client.send(encode_request(5, "toy.v1.later", {"text": "a"}))
        await client.send(encode_request(5, "toy.v1.later", {"text": "b"}))
        assert (await client.response()).error == (
            "invalid_argument: msgid 5 is still in use by a call in flight"
        )
        await client.send(encode_request(6, "toy.v1.later", {"text": "c"}))
        await client.send(encode_request(7, "toy.v1.later", {"text": "d"}))
        response = await client.response()
        assert (response.msgid, response.error) == (
            7,
            "resource_exhausted: a connection may have 2 requests in flight",
        )
        assert [text for text, _ in server.toy.handed_on] == ["a", "c"]
        for text, outcome in server.toy.handed_on:
            outcome.succeed(text)
        assert [(await client.response()).msgid for _ in range(2)] == [5, 6]


async def test_a_closed_connection_forgets_them(server: Running) -> None:
    client = await server.connect()
    await client.send(client.request("toy.v1.later", {"text": "a"}))
    await server.handed_on(1)
    client.close()
    await server.settled()
    server.toy.handed_on[0][1].succeed("a")  # nobody is there, and nobody minds


async def test_a_stop_waits_for_them_and_then_does_not(
    form: Form, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with running(form, tmp_path, grace=2) as server:
        client = await server.connect()
        for text in ("a", "b"):
            await client.send(client.request("toy.v1.later", {"text": text}))
        await server.handed_on(2)
        server.stop.set()
        await trio.testing.wait_all_tasks_blocked()
        server.toy.handed_on[1][1].succeed("b")
        assert (await client.response()).result == {"text": "b"}
        response = await client.response()
        assert response.error == "unavailable: the daemon is stopping"
        await server.stopped.wait()


async def test_descriptors_that_no_argument_claims_change_nothing(
    server: Running,
) -> None:
    client = await server.connect("fds")
    reading, writing = os.pipe()
    for method, arguments in (
        ("toy.v1.later", {"text": "now"}),
        ("toy.v1.get", {"name": "p"}),
    ):
        msgid = next(client.msgids)
        await client.send(encode_fds(msgid, 1), [writing])
        await client.send(encode_request(msgid, method, arguments))
        assert (await client.response()).error is None
    os.close(writing)
    with trio.fail_after(5):  # the daemon has closed its copies: this is the end
        assert await trio.to_thread.run_sync(os.read, reading, 1) == b""
    os.close(reading)


# --- in process


async def test_in_process_it_is_awaited() -> None:
    toy = ToyService()
    with trio.fail_after(5):
        assert await toy.later(text="now") == "now"
        with pytest.raises(NotFound):
            await toy.later(text="no")
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                assert await toy.later(text="a") == "A"

            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            toy.handed_on[-1][1].succeed("A")


async def test_who_gives_up_waiting_is_forgotten() -> None:
    outcome = Deferred[int]()
    with trio.move_on_after(0) as scope:
        await outcome.wait()
    assert scope.cancelled_caught
    outcome.succeed(1)
    assert await outcome.wait() == 1


def test_the_first_outcome_stays() -> None:
    outcome = Deferred[int]()
    outcome.succeed(1)
    outcome.fail(RuntimeError())
    assert outcome.result() == 1
