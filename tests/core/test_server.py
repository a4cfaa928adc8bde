# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a client sees, on both forms of the server."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from pluggd.core.access import AccessConfig, AccessRule
from pluggd.core.dispatch import Dispatcher
from pluggd.errors import Unavailable
from pluggd.wire.encoder import (
    LARGE,
    encode_credit,
    encode_fds,
    encode_notification,
    encode_request,
    encode_value,
)
from pluggd.wire.limits import Limits
from pluggd.wire.messages import Notification, Response
from tests.core.server_kit import TOY, Form, Running, open_fds, pattern, running

FORMS: list[Form] = ["epoll", "streams"]


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> Form:
    form: Form = request.param
    return form


@pytest.fixture
async def server(form: Form, tmp_path: Path) -> AsyncGenerator[Running]:
    async with running(form, tmp_path) as server:
        yield server


# --- calls


async def test_an_inline_method_answers(server: Running) -> None:
    client = await server.connect()
    assert await client.result("toy.v1.get", name="p", scale=3) == {
        "point": {"x": 3, "y": 6}
    }


async def test_stored_bytes_are_spliced_into_the_result(server: Running) -> None:
    client = await server.connect()
    result = await client.result("toy.v1.stored", name="a")
    assert result == {"point": {"x": 7, "labels": {"of": "a"}}}


async def test_an_async_method_answers_under_its_wire_name(server: Running) -> None:
    client = await server.connect()
    assert await client.result("toy.v1.import", text="a") == {"text": "A"}


async def test_an_error_is_one_string_by_default(server: Running) -> None:
    client = await server.connect()
    error = await client.error("toy.v1.get", name="q")
    assert error == 'not_found: point "q": not found'


async def test_an_error_is_a_map_for_who_agreed_to_it(server: Running) -> None:
    client = await server.connect("error_map")
    assert await client.error("toy.v1.get", name="q") == {
        "code": "not_found",
        "message": 'point "q": not found',
        "details": {},
    }


async def test_hello_tells_version_limits_and_what_is_agreed(server: Running) -> None:
    client = await server.connect()
    features = ["streams", "fds", "colours"]
    welcome = await client.result("rpc.v1.hello", client="t", features=features)
    assert welcome["version"] == "1.2.3"
    assert welcome["limits"]["message_size"] == 16 * 1024 * 1024
    assert welcome["features"] == ["fds", "streams"]


async def test_a_method_may_be_bin_and_a_reply_may_come(server: Running) -> None:
    client = await server.connect()
    await client.send(encode_value([2, b"nvim_set_client_info", ["x"]]))
    await client.send(encode_value([1, 77, None, "an answer to nothing"]))
    await client.send(encode_value([0, 9, b"toy.v1.get", [{"name": "p"}]]))
    assert (await client.response()).msgid == 9


@pytest.mark.parametrize("params", [[], [None], [None, None], None, [{}], [{}, {}]])
async def test_empty_params_come_in_every_form(server: Running, params: Any) -> None:
    client = await server.connect()
    metadata = {"namespace": "n"}
    await client.send(encode_value([0, 1, "toy.v1.inline_bug", params]))
    assert "internal" in (await client.response()).error
    await client.send(encode_value([0, 1, "toy.v1.who", [None, metadata]]))
    assert (await client.response()).error is None


async def test_call_context_comes_from_metadata_and_kernel(server: Running) -> None:
    client = await server.connect()
    response = await client.call(
        "toy.v1.who",
        None,
        {"namespace": "ns", "lease": "l", "traceparent": "00-a", "colour": "green"},
    )
    who = response.result
    assert (who["namespace"], who["lease"], who["traceparent"]) == ("ns", "l", "00-a")
    assert (who["uid"], who["pid"]) == (os.getuid(), os.getpid())
    assert who["request"] == "c1.0"


async def test_a_missing_namespace_is_refused(server: Running) -> None:
    client = await server.connect()
    error = await client.error("toy.v1.who")
    assert error == "failed_precondition: namespace is required: failed precondition"
    response = await client.call("toy.v1.who", None, {"namespace": "a b"})
    assert response.error.startswith("invalid_argument: namespace validation")


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ({"namespace": 1}, 'metadata "namespace": expected str, got int'),
        ({"timeout": "1"}, 'metadata "timeout": expected seconds, got str'),
        ({"timeout": float("nan")}, "is not a number"),
        ([], "metadata must be a map"),
    ],
)
async def test_bad_metadata_is_named(server: Running, metadata: Any, text: str) -> None:
    client = await server.connect()
    response = await client.call("toy.v1.get", {"name": "p"}, metadata or [1])
    assert response.error.startswith("invalid_argument: toy.v1.get: ")
    assert text in response.error


async def test_unknown_names_come_with_a_suggestion(server: Running) -> None:
    client = await server.connect()
    error = await client.error("toy.v1.gat", name="p")
    assert error == (
        'not_implemented: unknown method "gat" of service "toy.v1"; did you mean "get"?'
    )
    error = await client.error("tyo.v1.get", name="p")
    assert 'unknown service "tyo.v1"' in error
    assert 'did you mean "toy.v1"?' in error
    assert "not_implemented" in await client.error("")
    error = await client.error("toy.v1.newer")
    assert error == (
        'not_implemented: method "toy.v1.newer" is not implemented by '
        "pluggd.toy.v1.test"
    )


async def test_a_bug_is_logged_and_sent_without_its_text(
    server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    client = await server.connect()
    for method in ("toy.v1.bug", "toy.v1.inline_bug"):
        caplog.clear()
        error = await client.error(method)
        assert error.startswith(f"internal: {method}: internal error")
        assert "secret" not in error
        [record] = [r for r in caplog.records if r.levelno >= logging.ERROR]
        assert record.exc_info
        assert "c1." in error


async def test_a_clients_mistake_is_not_in_the_log(
    server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pluggd.rpc")
    client = await server.connect()
    caplog.clear()
    await client.error("toy.v1.get", name="q")
    await client.error("toy.v1.nothing")
    await client.error("toy.v1.get", nam="q")
    assert not caplog.records


async def test_an_error_in_a_group_of_one_is_that_error(server: Running) -> None:
    client = await server.connect()
    error = await client.error("toy.v1.bug", grouped=True)
    assert error == "not_found: found in a group: not found"


async def test_a_result_over_the_message_size_is_refused(server: Running) -> None:
    client = await server.connect()
    error = await client.error("toy.v1.blob", size=16 * 1024 * 1024)
    assert error.startswith("resource_exhausted: toy.v1.blob: the result has")
    assert len((await client.result("toy.v1.blob", size=16_000_000))["data"]) == 16e6


async def test_a_msgid_in_use_is_refused(server: Running) -> None:
    client = await server.connect()
    await client.send(encode_request(5, "toy.v1.sleep", {"seconds": 60}))
    await client.send(encode_request(5, "toy.v1.sleep", {"seconds": 60}))
    response = await client.response()
    assert response.error == (
        "invalid_argument: msgid 5 is still in use by a call in flight"
    )


# --- time and cancellation


async def test_a_timeout_ends_the_call(
    server: Running, autojump_clock: trio.testing.MockClock
) -> None:
    client = await server.connect()
    response = await client.call("toy.v1.sleep", {"seconds": 60}, {"timeout": 0.5})
    assert response.error == (
        "deadline_exceeded: toy.v1.sleep: not done within the timeout of 0.5 s"
    )
    assert server.toy.cancelled == 1
    response = await client.call("toy.v1.get", {"name": "p"}, {"timeout": 0})
    assert response.error.startswith("deadline_exceeded")


async def test_a_cancelled_call_is_answered_once(server: Running) -> None:
    client = await server.connect()
    await client.send(client.request("toy.v1.sleep", {"seconds": 60}))
    await client.send(encode_notification("$/cancel", [0]))
    response = await client.response()
    assert response.error == "canceled: toy.v1.sleep: canceled by the caller"
    await client.send(encode_notification("$/cancel", [0]))
    assert (await client.call("toy.v1.get", {"name": "p"})).msgid == 1


async def test_a_closed_connection_cancels_its_calls(server: Running) -> None:
    client = await server.connect()
    await client.send(client.request("toy.v1.sleep", {"seconds": 3600}))
    with trio.fail_after(5):
        while not server.toy.started:
            await trio.lowlevel.checkpoint()
    client.close()
    await server.settled()
    assert server.toy.cancelled == 1


async def test_a_client_that_ends_its_input_still_gets_its_answers(
    server: Running,
) -> None:
    client = await server.connect()
    await client.send(client.request("toy.v1.import", {"text": "a"}))
    client.sock.shutdown(socket.SHUT_WR)
    assert (await client.response()).result == {"text": "A"}
    assert await client.message() is None


# --- streams


async def test_a_stream_waits_for_credit(server: Running) -> None:
    client = await server.connect()
    await client.send(client.request("toy.v1.ticks", {"count": 100}))
    got: list[Any] = []
    for _ in range(64):
        message = await client.message()
        assert isinstance(message, Notification)
        got.append(message.params)
    with trio.move_on_after(0.05) as scope:
        await client.message()
    assert scope.cancelled_caught
    assert server.toy.ticks_sent == 64
    await client.send(encode_credit(0, 36))
    assert (await client.response()).error is None
    got += [n.params for n in client.notifications]
    assert got == [[0, {"n": n} if n else {}] for n in range(100)]


async def test_a_stream_of_bytes_is_cut_into_chunks(server: Running) -> None:
    client = await server.connect()
    size = 2 * 1024 * 1024 + 1
    response = await client.call("toy.v1.fetch", {"size": size})
    assert response.result == {"sent": size}
    sizes = [len(n.params[1]) for n in client.notifications]
    assert sizes == [1024 * 1024, 1024 * 1024, 1]


async def test_items_from_the_caller_bring_credit_back(server: Running) -> None:
    client = await server.connect()
    await client.send(client.request("toy.v1.total"))
    for _ in range(8):
        await client.send(encode_notification("$/item", [0, b"abc"]))
    for _ in range(2):
        message = await client.message()
        assert message == Notification("$/credit", [0, 4])
    await client.send(encode_notification("$/item", [0, "text\udcff"[:4]]))
    await client.send(encode_notification("$/end", [0]))
    assert (await client.response()).result == {"total": 28}


async def test_an_item_without_credit_ends_the_call(server: Running) -> None:
    client = await server.connect()
    data = client.request("toy.v1.total")
    data += encode_notification("$/item", [0, b"abc"]) * 9
    await client.send(data)
    response = await client.response()
    assert response.error == "resource_exhausted: an item was sent without credit"
    await client.result("toy.v1.get", name="p")


async def test_an_item_of_the_wrong_type_is_named(server: Running) -> None:
    client = await server.connect()
    data = client.request("toy.v1.total") + encode_notification("$/item", [0, 7])
    await client.send(data)
    response = await client.response()
    assert response.error == (
        "invalid_argument: toy.v1.total: item: expected bytes, got int"
    )


async def test_an_input_that_breaks_off_is_not_the_end_of_a_stream(
    server: Running,
) -> None:
    client = await server.connect()
    data = client.request("toy.v1.total") + encode_notification("$/item", [0, b"a"])
    await client.send(data)
    client.sock.shutdown(socket.SHUT_WR)
    response = await client.response()
    assert response.error == ("canceled: toy.v1.total: the input ended without $/end")


async def test_binary_in_text_survives_and_text_stays_utf8(server: Running) -> None:
    client = await server.connect()
    arguments = {"shape": {"name": "n"}, "data": "a\udcff"}
    result = await client.result("toy.v1.put", **arguments)
    assert result == {"shape": {"name": "n:b'a\\xff'"}}
    error = await client.error("toy.v1.put", shape={"name": "n\udcff"})
    assert error == (
        'invalid_argument: toy.v1.put: argument "shape.name" is text and must be '
        "valid UTF-8"
    )


# --- limits and hostile input


async def test_bytes_may_come_one_at_a_time(server: Running) -> None:
    client = await server.connect()
    for byte in client.request("toy.v1.get", {"name": "p"}):
        await client.send(bytes([byte]))
    assert (await client.response()).error is None


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\xc1", "invalid_argument"),
        (b"\x01", "invalid_argument"),
        (b"GET / HTTP/1.1\r\n\r\n", "invalid_argument"),
        (b"\x94\x00\xff\xa1m\x90", "invalid_argument"),
        (b"\x91" * 2000, "resource_exhausted"),
        (b"\x94\x00\x07\xa1m" + b"\x91" * 100 + b"\xc0", "resource_exhausted"),
        (encode_notification("$/credit", [1, -1]), "invalid_argument"),
        (encode_notification("$/item", []), "invalid_argument"),
        (encode_notification("$/fds", [1, 1]), "invalid_argument"),
        (encode_notification("$/fds", [1, 100]), "resource_exhausted"),
    ],
)
async def test_hostile_input_closes_that_connection_alone(
    server: Running, data: bytes, code: str
) -> None:
    other = await server.connect()
    client = await server.connect()
    await client.send(client.request("toy.v1.get", {"name": "p"}) + data)
    assert (await client.response()).error is None
    message = await client.message()
    if isinstance(message, Response):
        assert message.msgid == 7
        assert message.error.startswith(code)
    else:
        assert isinstance(message, Notification)
        assert message.method == "$/error"
        assert message.params[0].startswith(code)
    assert await client.message() is None
    await other.result("toy.v1.get", name="p")


async def test_a_fault_ends_the_calls_in_flight_with_an_answer(
    server: Running,
) -> None:
    client = await server.connect()
    await client.send(client.request("toy.v1.sleep", {"seconds": 60}) + b"\xc1")
    answers = [await client.message(), await client.message()]
    [response] = [m for m in answers if isinstance(m, Response)]
    assert response.error.startswith("canceled: toy.v1.sleep: the connection closed")
    assert await client.message() is None
    await server.settled()


async def test_a_message_at_the_limit_passes_and_one_above_does_not(
    form: Form, tmp_path: Path
) -> None:
    async with running(form, tmp_path, limits=Limits(message_size=1000)) as server:
        client = await server.connect()
        request = encode_request(1, "toy.v1.import", {"text": ""})
        room = 1000 - len(request) - 2  # a str of that length takes two bytes more
        exact = encode_request(1, "toy.v1.import", {"text": "a" * room})
        assert len(exact) == 1000
        await client.send(exact)
        response = await client.response()
        assert response.error is not None  # the result does not fit, the request did
        assert "the result has" in response.error
        await client.send(
            encode_request(2, "toy.v1.import", {"text": "a" * (room + 1)})
        )
        response = await client.response()
        assert response.msgid == 2
        assert response.error == (
            "resource_exhausted: a message may have at most 1000 bytes, not 1001"
        )
        assert await client.message() is None


async def test_requests_and_streams_in_flight_are_limited(
    form: Form, tmp_path: Path
) -> None:
    async with running(form, tmp_path, limits=Limits(requests=3, streams=2)) as server:
        client = await server.connect()
        await client.send(client.request("toy.v1.total") * 1)
        await client.send(client.request("toy.v1.total"))
        response = await client.call("toy.v1.total")
        assert response.error == ("resource_exhausted: a connection may have 2 streams")
        await client.send(client.request("toy.v1.sleep", {"seconds": 60}))
        response = await client.call("toy.v1.sleep", {"seconds": 60})
        assert response.error == (
            "resource_exhausted: a connection may have 3 requests in flight"
        )
        await client.result("toy.v1.get", name="p")


async def test_one_connection_too_many_is_told_so(form: Form, tmp_path: Path) -> None:
    async with running(form, tmp_path, limits=Limits(connections=1)) as server:
        first = await server.connect()
        await first.result("toy.v1.get", name="p")
        second = await server.connect()
        message = await second.message()
        assert message == Notification(
            "$/error",
            ["resource_exhausted: the daemon serves 1 connections at a time"],
        )
        assert await second.message() is None
        first.close()
        with trio.fail_after(5):
            while server.dispatcher.statistics.connections:
                await trio.lowlevel.checkpoint()
        third = await server.connect()
        await third.result("toy.v1.get", name="p")


async def test_a_slow_reader_costs_a_bounded_queue(form: Form, tmp_path: Path) -> None:
    limits = Limits(queued=256 * 1024, queued_max=4 * 1024 * 1024)
    async with running(form, tmp_path, limits=limits) as server:
        slow = await server.connect()
        await slow.send(
            b"".join(slow.request("toy.v1.blob", {"size": 100_000}) for _ in range(200))
        )
        other = await server.connect()
        for _ in range(20):
            await other.result("toy.v1.get", name="p")
        assert server.dispatcher.statistics.requests < 40
        for msgid in range(200):
            response = await slow.response()
            assert (response.msgid, response.error) == (msgid, None)


@pytest.mark.parametrize("size", [0, 1, LARGE - 1, LARGE, 65535, 65536, 3_000_000])
async def test_bytes_of_any_size_arrive_as_they_are(
    form: Form, tmp_path: Path, size: int
) -> None:
    """Many of them are sent as they lie, behind a header made by hand."""
    async with running(form, tmp_path) as server:
        client = await server.connect()
        wanted = {"at": 7, "data": pattern(size)} if size else {"at": 7}
        assert await client.result("toy.v1.part", at=7, size=size) == {"part": wanted}
        await client.send(client.request("toy.v1.parts", {"size": size}))
        got: list[bytes] = []
        while isinstance(message := await client.message(), Notification):
            got.append(message.params[1])
        assert b"".join(got) == pattern(size)


async def test_large_answers_keep_their_places_among_small_ones(
    form: Form, tmp_path: Path
) -> None:
    limits = Limits(queued=256 * 1024)
    async with running(form, tmp_path, limits=limits) as server:
        slow = await server.connect()
        parts: list[bytes] = []
        for _ in range(20):
            parts.append(slow.request("toy.v1.part", {"at": 1, "size": 300_000}))
            parts.append(slow.request("toy.v1.get", {"name": "p"}))
        await slow.send(b"".join(parts))
        other = await server.connect()
        await other.result("toy.v1.get", name="p")
        got = [await slow.response() for _ in range(40)]
        assert sorted(response.msgid for response in got) == list(range(40))
        assert all(response.error is None for response in got)
        large = [r.result["part"]["data"] for r in got if "part" in r.result]
        assert large == [pattern(300_000)] * 20


async def test_a_stream_to_a_slow_reader_waits(form: Form, tmp_path: Path) -> None:
    limits = Limits(queued=64 * 1024, queued_max=2 * 1024 * 1024)
    async with running(form, tmp_path, limits=limits) as server:
        slow = await server.connect()
        await slow.send(encode_request(0, "toy.v1.ticks", {"count": 1_000_000}))
        await slow.send(encode_credit(0, 1_000_000))
        other = await server.connect()
        for _ in range(20):
            await other.result("toy.v1.get", name="p")
        assert server.toy.ticks_sent < 100_000
        slow.close()
        await server.settled()


async def test_a_reader_over_the_hard_bound_is_cut(
    form: Form, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    limits = Limits(queued=1_000_000, queued_max=1_500_000)
    async with running(form, tmp_path, limits=limits) as server:
        slow = await server.connect()
        text = {"text": "x" * 900_000}
        with contextlib.suppress(BrokenPipeError):
            for _ in range(3):
                await slow.send(slow.request("toy.v1.import", text))
        with trio.fail_after(5):
            while server.dispatcher.statistics.connections:
                await trio.lowlevel.checkpoint()
        assert "resource_exhausted" in caplog.text


# --- many clients


async def test_sixty_four_clients_at_once(server: Running) -> None:
    async def one(number: int) -> None:
        client = await server.connect()
        names = [f"n{number}-{n}" for n in range(20)]
        await client.send(
            b"".join(client.request("toy.v1.import", {"text": name}) for name in names)
        )
        answers = [await client.response() for _ in names]
        by_id = {answer.msgid: answer.result for answer in answers}
        assert by_id == {n: {"text": name.upper()} for n, name in enumerate(names)}
        client.close()

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for number in range(64):
                nursery.start_soon(one, number)


async def test_a_client_that_dies_in_a_message_hurts_nobody(server: Running) -> None:
    other = await server.connect()
    for cut in (1, 5, 20):
        client = await server.connect()
        await client.send(client.request("toy.v1.get", {"name": "p"})[:cut])
        client.close()
    await other.result("toy.v1.get", name="p")


# --- descriptors


async def test_a_descriptor_comes_with_its_response(
    server: Running, tmp_path: Path
) -> None:
    (tmp_path / "f").write_text("content")
    client = await server.connect("fds")
    before = sorted(open_fds())
    response = await client.call("toy.v1.open", {"path": str(tmp_path / "f")})
    assert response.result == {"name": str(tmp_path / "f"), "fd": 0}
    assert [n.params for n in client.notifications] == [[response.msgid, 1]]
    [fd] = client.fds
    assert os.read(fd, 100) == b"content"
    os.close(fd)
    assert sorted(open_fds()) == before


async def test_a_descriptor_is_refused_to_who_did_not_ask(
    server: Running, tmp_path: Path
) -> None:
    client = await server.connect()
    error = await client.error("toy.v1.open", path=str(tmp_path / "s"))
    assert error.startswith("failed_precondition: toy.v1.open passes a file descriptor")


async def test_a_descriptor_goes_with_its_request(
    server: Running, tmp_path: Path
) -> None:
    client = await server.connect("fds")
    before = sorted(open_fds())
    with (tmp_path / "out").open("w") as file:
        request = encode_request(8, "toy.v1.write_to", {"fd": 0, "text": "hello"})
        await client.send(encode_fds(8, 1) + request, [file.fileno()])
        assert (await client.response()).error is None
    assert (tmp_path / "out").read_text() == "hello"
    assert sorted(open_fds()) == before


@pytest.mark.parametrize(
    "data",
    [
        encode_request(8, "toy.v1.write_to", {"fd": 0, "text": "x"}),
        encode_fds(8, 1) + encode_request(8, "toy.v1.write_to", {"fd": 1, "text": "x"}),
        encode_fds(8, 1) + encode_request(8, "toy.v1.write_to", {"text": 3}),
        encode_fds(8, 1) + encode_request(8, "toy.v1.get", {"name": "p"}),
        encode_fds(8, 1) + encode_request(9, "toy.v1.get", {"name": "p"}),
        encode_fds(8, 2) + encode_request(8, "toy.v1.write_to", {"fd": 0, "text": "x"}),
        encode_fds(8, 1) + b"\xc1",
        b"\xc1",
    ],
)
async def test_descriptors_that_nobody_claims_are_closed(
    server: Running, data: bytes
) -> None:
    client = await server.connect("fds")
    reader, writer = os.pipe()
    await client.send(data, [writer])
    os.close(writer)
    while await client.message() is not None:
        if not data.endswith(b"\xc1"):
            break
    with trio.fail_after(5):
        await trio.lowlevel.wait_readable(reader)
    assert os.read(reader, 1) == b""  # the end: no writer is left
    os.close(reader)


async def test_more_descriptors_than_allowed_close_the_connection(
    server: Running,
) -> None:
    client = await server.connect("fds")
    reader, writer = os.pipe()
    await client.send(client.request("toy.v1.get", {"name": "p"}), [writer] * 40)
    os.close(writer)
    message = await client.message()
    assert isinstance(message, Notification)
    assert message.params[0].startswith("resource_exhausted")
    assert await client.message() is None
    assert os.read(reader, 1) == b""
    os.close(reader)


# --- access and availability


async def test_access_rules_name_themselves(form: Form, tmp_path: Path) -> None:
    rule = AccessRule(name="no-writes", effect="deny", methods=["toy.v1.put"])
    dispatcher = Dispatcher(access=AccessConfig(rules=[rule]))
    async with running(form, tmp_path, dispatcher=dispatcher) as server:
        client = await server.connect("error_map")
        error = await client.error("toy.v1.put", shape={"name": "n"})
        assert error["code"] == "permission_denied"
        assert 'rule "no-writes"' in error["message"]
        await client.result("toy.v1.get", name="p")


async def test_a_service_that_is_down_says_why(server: Running) -> None:
    client = await server.connect()
    reason = Unavailable("plugin pluggd.toy.v1.test failed: out of luck")
    server.dispatcher.unavailable(TOY, reason)
    error = await client.error("toy.v1.get", name="p")
    assert error == "unavailable: plugin pluggd.toy.v1.test failed: out of luck"


# --- the end


async def test_stop_lets_calls_end_and_refuses_new_ones(
    form: Form, tmp_path: Path
) -> None:
    async with running(form, tmp_path, grace=30) as server:
        client = await server.connect()
        await client.send(client.request("toy.v1.sleep", {"seconds": 3600}))
        await client.send(client.request("toy.v1.ticks", {"count": 1000}))
        await client.result("toy.v1.get", name="p")
        server.stop.set()
        answers = [await client.response()]  # the stream's: it has seen the stop
        with pytest.raises(ConnectionRefusedError):
            await server.connect()
        answers.append(await client.call("toy.v1.get", {"name": "p"}))
        assert not server.stopped.is_set()
        server.toy.wake.set()
        answers.append(await client.response())
        assert [(answer.msgid, answer.error) for answer in answers] == [
            (1, "unavailable: the daemon is stopping"),
            (3, "unavailable: the daemon is stopping"),
            (0, None),
        ]
        assert await client.message() is None
        with trio.fail_after(5):
            await server.stopped.wait()


async def test_stop_answers_what_does_not_end(
    form: Form, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with running(form, tmp_path, grace=3) as server:
        client = await server.connect()
        await client.send(client.request("toy.v1.sleep", {"seconds": 3600}))
        await client.result("toy.v1.get", name="p")
        server.stop.set()
        response = await client.response()
        assert response.error == "unavailable: the daemon is stopping"
        assert await client.message() is None
        with trio.fail_after(10):
            await server.stopped.wait()
        assert trio.current_time() < 1000


async def test_hurry_ends_the_grace_and_still_answers(
    form: Form, tmp_path: Path
) -> None:
    async with running(form, tmp_path, grace=3600) as server:
        client = await server.connect()
        await client.send(client.request("toy.v1.sleep", {"seconds": 3600}))
        await client.result("toy.v1.get", name="p")
        server.stop.set()
        await trio.testing.wait_all_tasks_blocked()
        server.hurry.set()
        response = await client.response()
        assert response.error == "unavailable: the daemon is stopping"
        assert await client.message() is None
        with trio.fail_after(10):
            await server.stopped.wait()


async def test_a_cancelled_server_leaves_no_descriptor(
    form: Form, tmp_path: Path
) -> None:
    before = sorted(open_fds())
    async with running(form, tmp_path) as server:
        for _ in range(3):
            client = await server.connect()
            await client.send(client.request("toy.v1.sleep", {"seconds": 60}))
            await client.result("toy.v1.get", name="p")
    # trio keeps its own; ours are the socket files
    left = [fd for fd in open_fds() if fd not in before and "socket" in fd]
    assert left == []
