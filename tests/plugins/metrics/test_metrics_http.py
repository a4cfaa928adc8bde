# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What an HTTP client of the metrics plugin gets."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import httpx2
import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from pluggd.core.config_files import ConfigError
from pluggd.errors import InvalidArgument
from pluggd.testing import RunningDaemon, running_daemon
from plugins.metrics.config import Config, parse_listen

URI = "pluggd.metrics.v1.prometheus"


def section(**options: object) -> dict[str, object]:
    return {"plugins": {URI: {"listen": "127.0.0.1:0", **options}}}


def url(daemon: RunningDaemon) -> str:
    (info,) = [one for one in daemon.daemon.plugins() if one.uri == URI]
    return info.exports["url"]


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncGenerator[RunningDaemon]:
    with trio.fail_after(30):
        async with running_daemon(tmp_path, section(connections=2)) as daemon:
            yield daemon


async def connect(daemon: RunningDaemon) -> trio.SocketStream:
    parsed = httpx2.URL(url(daemon))
    return await trio.open_tcp_stream(parsed.host, parsed.port or 0)


async def answer(daemon: RunningDaemon, request: bytes) -> bytes:
    """All that comes back for these bytes."""
    stream = await connect(daemon)
    async with stream:
        await stream.send_all(request)
        return b"".join([data async for data in stream])


async def test_a_scrape_gets_all_figures(daemon: RunningDaemon) -> None:
    async with httpx2.AsyncClient() as client:
        await client.get(url(daemon))
        response = await client.get(url(daemon))
        assert response.status_code == 200
    kind = response.headers["content-type"]
    assert kind == "text/plain; version=0.0.4; charset=utf-8"
    names = {one.name for one in text_string_to_metric_families(response.text)}
    assert {"pluggd_loop_lag_seconds", "pluggd_plugin_status"} <= names


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/metrics/x", 404),
        ("POST", "/metrics", 405),
        ("GET", "/metrics?a=b", 200),
        ("HEAD", "/metrics", 200),
    ],
)
async def test_there_is_nothing_but_get_metrics(
    daemon: RunningDaemon, method: str, path: str, status: int
) -> None:
    async with httpx2.AsyncClient() as client:
        place = httpx2.URL(url(daemon)).join(path)
        response = await client.request(method, place)
    assert response.status_code == status
    assert bool(response.content) == (method != "HEAD")
    if status == 405:
        assert response.headers["allow"] == "GET, HEAD"


async def test_a_request_that_is_too_large_is_refused(daemon: RunningDaemon) -> None:
    request = b"GET /metrics HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20_000
    assert (await answer(daemon, request)).startswith(b"HTTP/1.1 431 ")


async def test_what_is_no_http_is_refused(daemon: RunningDaemon) -> None:
    assert (await answer(daemon, b"\x00\x01\r\n\r\n")).startswith(b"HTTP/1.1 400 ")


async def test_a_body_is_dropped_and_the_answer_arrives(daemon: RunningDaemon) -> None:
    head = b"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n"
    stream = await connect(daemon)
    async with stream:
        await stream.send_all(head + b"x" * 200_000)
        await stream.send_eof()
        got = b"".join([data async for data in stream])
    assert got.startswith(b"HTTP/1.1 405 ")


async def test_one_connection_too_many_is_closed(daemon: RunningDaemon) -> None:
    held = [await connect(daemon) for _ in range(2)]
    for stream in held:
        await stream.send_all(b"GET ")
    # In order: the server has accepted those when it sees this one.
    assert await answer(daemon, b"") == b""
    for stream in held:
        await stream.send_all(b"/metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 ")
        await stream.aclose()


async def test_who_says_nothing_is_cut_off(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, section(timeout=0.05)) as daemon:
        with trio.fail_after(20):
            stream = await connect(daemon)
            async with stream:
                await stream.send_all(b"GET /metr")
                assert await stream.receive_some() == b""


async def test_without_configuration_nobody_listens(tmp_path: Path) -> None:
    async with running_daemon(tmp_path) as daemon:
        (info,) = [one for one in daemon.daemon.plugins() if one.uri == URI]
        assert info.status == "ok"
        assert info.exports == {}
        assert info.tasks == 0


async def test_a_port_that_is_taken_fails_the_plugin_with_the_address(
    tmp_path: Path,
) -> None:
    (taken,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with taken:
        listen = f"127.0.0.1:{taken.socket.getsockname()[1]}"
        async with running_daemon(tmp_path, section(listen=listen)) as daemon:
            (info,) = [one for one in daemon.daemon.plugins() if one.uri == URI]
    assert info.status == "failed"
    assert f"cannot listen on {listen}: Address already in use" in info.reason


@pytest.mark.parametrize(
    "listen", ["0.0.0.0:9464", "[::]:9464", "192.0.2.1:9464", "[2001:db8::1]:1"]
)
def test_an_address_that_others_reach_must_be_allowed(listen: str) -> None:
    with pytest.raises(InvalidArgument, match="allow_remote"):
        Config(listen=listen)
    assert Config(listen=listen, allow_remote=True).listen == listen


@pytest.mark.parametrize(
    "listen",
    [
        "9464",
        ":9464",
        "localhost:9464",
        "127.0.0.1",
        "::1:9464",
        "[127.0.0.1]:1",
        "127.0.0.1:x",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "[::1]",
        "127.0.0.1:",
    ],
)
def test_what_is_no_address_with_a_port_is_refused(listen: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^listen = "):
        Config(listen=listen)


def test_addresses_are_taken_apart() -> None:
    assert parse_listen("127.0.0.1:9464", allow_remote=False) == ("127.0.0.1", 9464)
    assert parse_listen("[::1]:0", allow_remote=False) == ("::1", 0)


async def test_the_configuration_says_where_the_mistake_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.toml:\d+: .*listen = "):
        async with running_daemon(tmp_path, section(listen="0.0.0.0:1")):
            pass
