# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Plugins restarted, disabled and enabled while the daemon runs."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pytest
import trio

from pluggd.client import Client, connect
from pluggd.errors import FailedPrecondition, NotFound, PluggdError, Unavailable
from pluggd.plugin import Context, NoConfig, Registration
from pluggd.services.kind import Kind
from pluggd.services.rpc import Send, rpc
from pluggd.testing import RunningDaemon, running_daemon

A, B, C, D = (f"test.{name}.v1.x" for name in "abcd")


class Echo(Protocol):
    @rpc(namespaced=False)
    async def say(self) -> None: ...

    @rpc(namespaced=False)
    async def hold(self) -> None: ...

    @rpc(namespaced=False, waits=True)
    async def follow(self, *, items: Send[str]) -> None: ...


KINDS = {name: Kind(f"test.{name}.v1", Echo) for name in "abcd"}


class Service:
    def __init__(self, wait: Callable[[], Awaitable[object]]) -> None:
        self._wait = wait

    async def say(self) -> None: ...

    async def hold(self) -> None:
        await self._wait()

    async def follow(self, *, items: Send[str]) -> None:
        await items.send("begun")
        await trio.sleep_forever()


class Begun:
    """Takes items and sets an event."""

    def __init__(self, event: trio.Event) -> None:
        self._event = event

    async def send(self, value: str, /) -> None:
        self._event.set()


class Plugins:
    """a <- b <- c (wants); d stands alone. log: starts and stops. fails: names of
    those whose start raises. gate: what `hold` waits for."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.fails: set[str] = set()
        self.gate = trio.Event()

    def registrations(self) -> list[Registration[Any, Any]]:
        return [
            self._one("a"),
            self._one("b", requires=(KINDS["a"],)),
            self._one("c", wants=(KINDS["b"],)),
            self._one("d"),
        ]

    def _one(self, name: str, **options: Any) -> Registration[Any, Any]:
        @asynccontextmanager
        async def start(ctx: Context[NoConfig]) -> AsyncGenerator[Echo]:
            if name in self.fails:
                raise OSError("no such device")
            self.log.append(f"+{name}")
            ctx.export("generation", str(self.log.count(f"+{name}")))
            yield Service(lambda: self.gate.wait())
            self.log.append(f"-{name}")

        return Registration(provides=KINDS[name], id="x", start=start, **options)


@asynccontextmanager
async def running(
    tmp_path: Path, **config: Any
) -> AsyncGenerator[tuple[RunningDaemon, Plugins, Client]]:
    plugins = Plugins()
    with trio.fail_after(30):
        async with (
            running_daemon(tmp_path, config, plugins.registrations()) as daemon,
            daemon.client() as client,
        ):
            yield daemon, plugins, client


def statuses(daemon: RunningDaemon) -> dict[str, str]:
    return {
        info.uri[5]: info.status
        for info in daemon.daemon.plugins()
        if info.uri.startswith("test.")
    }


async def test_a_restart_stops_dependents_first_and_starts_them_last(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as (daemon, plugins, client):
        plugins.log.clear()
        change = await client.management.restart(uri=A)
        assert plugins.log == ["-c", "-b", "-a", "+a", "+b", "+c"]
        assert [(one.uri, one.action, one.after) for one in change.plugins] == [
            (A, "restart", "ok"),
            (B, "restart", "ok"),
            (C, "restart", "ok"),
        ]
        assert statuses(daemon) == dict.fromkeys("abcd", "ok")
        await client.get(KINDS["c"]).say()


async def test_what_nobody_needs_is_restarted_alone(tmp_path: Path) -> None:
    async with running(tmp_path) as (_, plugins, client):
        plugins.log.clear()
        await client.management.restart(uri=C)
        assert plugins.log == ["-c", "+c"]


async def test_exports_are_those_of_the_last_start(tmp_path: Path) -> None:
    async with running(tmp_path) as (_, _, client):
        await client.management.restart(uri=C)
        info = await client.introspection.plugin(uri=C)
        assert info.exports == {"generation": "2"}


async def test_calls_in_flight_end_before_the_plugin_stops(tmp_path: Path) -> None:
    async with running(tmp_path) as (daemon, plugins, client):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.get(KINDS["a"]).hold)
            await _in_flight(daemon, 1)
            nursery.start_soon(lambda: client.management.restart(uri=A))
            await _unavailable(client.get(KINDS["a"]))
            assert "-a" not in plugins.log
            plugins.gate.set()
        assert plugins.log.count("-a") == 1


async def test_calls_that_do_not_end_get_their_grace_and_then_the_reason(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, rpc={"grace": 0.05}) as (daemon, plugins, client):
        async with trio.open_nursery() as nursery:

            async def hold() -> None:
                with pytest.raises(Unavailable, match=f"restart of {A}: unavailable$"):
                    await client.get(KINDS["a"]).hold()

            nursery.start_soon(hold)
            await _in_flight(daemon, 1)
            await client.management.restart(uri=A)
        assert plugins.log.count("+a") == 2


async def test_streams_that_wait_for_news_are_ended_at_once(tmp_path: Path) -> None:
    begun = trio.Event()

    async def follow(client: Client) -> None:
        with pytest.raises(Unavailable, match="restart of"):
            await client.get(KINDS["a"]).follow(items=Begun(begun))

    async with (
        running(tmp_path, rpc={"grace": 1000.0}) as (_, _, client),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(follow, client)
        await begun.wait()
        await client.management.restart(uri=A)


async def test_other_services_answer_meanwhile(tmp_path: Path) -> None:
    async with (
        running(tmp_path) as (daemon, plugins, client),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(client.get(KINDS["a"]).hold)
        await _in_flight(daemon, 1)
        nursery.start_soon(lambda: client.management.restart(uri=A))
        await _unavailable(client.get(KINDS["b"]))
        await client.get(KINDS["d"]).say()
        assert (await client.introspection.server()).pid
        plugins.gate.set()


async def test_a_start_that_fails_blocks_its_dependents_and_a_restart_mends_them(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as (daemon, plugins, client):
        plugins.fails.add("a")
        change = await client.management.restart(uri=A)
        assert [one.after for one in change.plugins] == ["failed", "blocked", "ok"]
        with pytest.raises(Unavailable, match="no such device"):
            await client.get(KINDS["b"]).say()
        plugins.fails.clear()
        await client.management.restart(uri=A)
        assert statuses(daemon) == dict.fromkeys("abcd", "ok")
        await client.get(KINDS["b"]).say()


async def test_a_disabled_plugin_is_gone_until_it_is_enabled(tmp_path: Path) -> None:
    async with running(tmp_path) as (daemon, plugins, client):
        change = await client.management.disable(uri=B)
        assert [(one.uri, one.action) for one in change.plugins] == [
            (C, "restart"),
            (B, "stop"),
        ]
        assert statuses(daemon) == {"a": "ok", "b": "disabled", "c": "ok", "d": "ok"}
        with pytest.raises(Unavailable, match="disabled by hand"):
            await client.get(KINDS["b"]).say()
        with pytest.raises(FailedPrecondition, match="is disabled: enable it"):
            await client.management.restart(uri=B)
        plugins.log.clear()
        await client.management.enable(uri=B)
        assert plugins.log == ["-c", "+b", "+c"]
        await client.get(KINDS["b"]).say()


@pytest.mark.parametrize("required", [A, B])
async def test_what_is_required_cannot_be_disabled(
    tmp_path: Path, required: str
) -> None:
    async with running(tmp_path, required_plugins=[required]) as (daemon, _, client):
        with pytest.raises(FailedPrecondition, match="in required_plugins"):
            await client.management.disable(uri=A)
        assert statuses(daemon)["a"] == "ok"


async def test_a_name_that_is_unknown_gets_the_nearest_one(tmp_path: Path) -> None:
    async with running(tmp_path) as (_, _, client):
        with pytest.raises(
            NotFound, match=r'"b": not found; did you mean "test\.b\.v1'
        ):
            await client.management.restart(uri="b")
        with pytest.raises(NotFound, match=r'did you mean "test\.a\.v1\.x"'):
            await client.management.restart(uri="test.a.v1.y")
        with pytest.raises(FailedPrecondition, match="the daemon itself"):
            await client.management.restart(uri="pluggd.daemon.v1.core")


async def test_a_change_goes_on_when_who_asked_is_gone(tmp_path: Path) -> None:
    async with running(tmp_path) as (daemon, plugins, client):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.get(KINDS["a"]).hold)
            await _in_flight(daemon, 1)
            async with connect(daemon.address) as other:
                with trio.CancelScope() as scope:
                    async with trio.open_nursery() as asking:
                        asking.start_soon(lambda: other.management.restart(uri=A))
                        await _unavailable(client.get(KINDS["a"]))
                        scope.cancel()
            plugins.gate.set()
        while statuses(daemon)["a"] != "ok" or plugins.log.count("+a") != 2:
            await trio.lowlevel.checkpoint()
        await client.management.restart(uri=D)


async def test_changes_come_one_after_the_other(tmp_path: Path) -> None:
    async with running(tmp_path) as (daemon, plugins, client):
        async with trio.open_nursery() as nursery:
            for uri in (A, D, B, A):
                nursery.start_soon(partial(client.management.restart, uri=uri))
        assert plugins.log.count("+a") == 3
        assert statuses(daemon) == dict.fromkeys("abcd", "ok")


async def test_the_management_plugin_can_be_restarted_through_itself(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as (_, _, client):
        uri = "pluggd.management.v1.core"
        for _ in range(2):
            change = await client.management.restart(uri=uri)
            assert [one.after for one in change.plugins] == ["ok"]


async def test_a_daemon_that_stops_in_the_middle_of_a_change_stops_cleanly(
    tmp_path: Path,
) -> None:
    async def unanswered(call: Callable[[], Awaitable[object]]) -> None:
        # The answer may or may not get through before the socket closes.
        with contextlib.suppress(PluggdError):
            await call()

    async with (
        running(tmp_path, rpc={"grace": 0.05}) as (daemon, plugins, client),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(unanswered, client.get(KINDS["a"]).hold)
        await _in_flight(daemon, 1)
        nursery.start_soon(unanswered, lambda: client.management.restart(uri=A))
        await daemon.stop()
    for name in "abcd":
        assert plugins.log.count(f"+{name}") == plugins.log.count(f"-{name}")


async def _in_flight(daemon: RunningDaemon, count: int) -> None:
    while daemon.daemon.services.dispatcher.statistics.in_flight < count:
        await trio.lowlevel.checkpoint()


async def _unavailable(service: Echo) -> None:
    """Wait until calls of the service are refused."""
    while True:
        try:
            await service.say()
        except Unavailable:
            return
