# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which plugin answers for which service, seen through the socket."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
import trio

from pluggd.core.services import limits_of
from pluggd.core.settings import LimitSettings
from pluggd.errors import FailedPrecondition, NotImplemented_, Unavailable
from pluggd.plugin import Context, NoConfig, Registration, Skip, inline
from pluggd.services.daemon import DAEMON
from pluggd.services.introspection import INTROSPECTION
from pluggd.services.kind import Kind
from pluggd.services.rpc import rpc
from pluggd.services.schema import is_served
from pluggd.testing import running_daemon
from pluggd.wire.limits import Limits


class Greeter(Protocol):
    @rpc(result="text", namespaced=False)
    async def greet(self, *, name: str = "") -> str: ...


GREETER = Kind("test.greeter.v1", Greeter)
NEED = Kind("test.need.v1", object)


class Polite:
    def __init__(self, word: str = "hello") -> None:
        self.word = word

    @inline
    def greet(self, *, name: str = "") -> str:
        return f"{self.word} {name}"


def greeter(id: str = "x", **options: Any) -> Registration[Greeter, NoConfig]:
    @asynccontextmanager
    async def start(ctx: Context[NoConfig]) -> AsyncGenerator[Greeter]:
        yield Polite(id)

    return Registration(provides=GREETER, id=id, start=start, **options)


async def test_a_plugins_service_answers_on_the_socket(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with (
            running_daemon(tmp_path, plugins=[greeter("hello")]) as daemon,
            daemon.client() as client,
        ):
            assert await client.get(GREETER).greet(name="you") == "hello you"


async def test_the_selected_provider_answers(tmp_path: Path) -> None:
    config = {"select": {"greeter": "two"}}
    with trio.fail_after(20):
        async with (
            running_daemon(
                tmp_path, config, [greeter("one"), greeter("two")]
            ) as daemon,
            daemon.client() as client,
        ):
            assert await client.get(GREETER).greet(name="you") == "two you"


async def test_an_ambiguous_service_is_refused_with_its_candidates(
    tmp_path: Path,
) -> None:
    with trio.fail_after(20):
        async with (
            running_daemon(
                tmp_path, plugins=[greeter("one"), greeter("two")]
            ) as daemon,
            daemon.client() as client,
        ):
            with pytest.raises(FailedPrecondition, match="provider: one, two"):
                await client.get(GREETER).greet()


async def test_the_service_of_a_blocked_plugin_tells_the_first_cause(
    tmp_path: Path,
) -> None:
    @asynccontextmanager
    async def start(ctx: Context[NoConfig]) -> AsyncGenerator[object]:
        raise Skip("no such device")
        yield

    need = Registration(provides=NEED, id="x", start=start)
    with trio.fail_after(20):
        async with (
            running_daemon(
                tmp_path, plugins=[need, greeter(requires=(NEED,))]
            ) as daemon,
            daemon.client() as client,
        ):
            with pytest.raises(Unavailable, match="no such device"):
                await client.get(GREETER).greet()
            health = await client.introspection.health(service="greeter.v1")
            assert health.services[0].status == "not_serving"
            assert "no such device" in health.services[0].reason


async def test_a_service_that_is_off_on_purpose_is_no_bad_health(
    tmp_path: Path,
) -> None:
    @asynccontextmanager
    async def start(ctx: Context[NoConfig]) -> AsyncGenerator[Greeter]:
        raise Skip("no such device")
        yield Polite()

    plugin = Registration(provides=GREETER, id="x", start=start)
    off = 'disabled_plugins = ["pluggd.management.v1.core"]'
    with trio.fail_after(20):
        async with (
            running_daemon(tmp_path, off, plugins=[plugin]) as daemon,
            daemon.client() as client,
        ):
            health = await client.introspection.health()
            found = {one.service: one.status for one in health.services}
            assert found["greeter.v1"] == "skipped"
            assert found["management.v1"] == "disabled"
            assert health.status == "serving"
            # Who asks for it wants it.
            health = await client.introspection.health(service="greeter.v1")
            assert health.status == "not_serving"
            assert "no such device" in health.services[0].reason


async def test_a_service_whose_plugin_fails_later_says_so(tmp_path: Path) -> None:
    crash = trio.Event()

    async def work() -> None:
        await crash.wait()
        raise RuntimeError("lost my way")

    @asynccontextmanager
    async def start(ctx: Context[NoConfig]) -> AsyncGenerator[Greeter]:
        ctx.spawn(work)
        yield Polite()

    plugin = Registration(provides=GREETER, id="x", start=start)
    with trio.fail_after(20):
        async with (
            running_daemon(tmp_path, plugins=[plugin]) as daemon,
            daemon.client() as client,
        ):
            assert await client.get(GREETER).greet(name="you") == "hello you"
            crash.set()
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(Unavailable, match="lost my way"):
                await client.get(GREETER).greet()
            found = await client.introspection.plugins(filters=["status==failed"])
            assert [plugin.uri for plugin in found.plugins] == ["test.greeter.v1.x"]


async def test_a_service_that_nobody_declares_is_not_implemented(
    tmp_path: Path,
) -> None:
    with trio.fail_after(20):
        async with (
            running_daemon(tmp_path) as daemon,
            daemon.client() as client,
        ):
            with pytest.raises(NotImplemented_):
                await client.get(GREETER).greet()


async def test_all_bundled_plugins_are_ok_and_the_daemon_is_healthy(
    tmp_path: Path,
) -> None:
    with trio.fail_after(20):
        async with (
            running_daemon(tmp_path) as daemon,
            daemon.client() as client,
        ):
            plugins = (await client.introspection.plugins()).plugins
            off = ("not selected: ", "decorates nothing: ")
            # Nothing else that a fresh system lacks is missed.
            lacking = "none of runc, crun is on PATH"
            assert [
                p.uri
                for p in plugins
                if p.status != "ok"
                and not (p.status == "disabled" and p.reason.startswith(off))
                and not (p.status == "skipped" and p.reason.startswith(lacking))
            ] == []
            health = await client.introspection.health()
            assert health.status == "serving"
            server = await client.introspection.server()
            assert server.address == str(daemon.address)


def test_only_kinds_with_served_methods_are_served() -> None:
    assert is_served(INTROSPECTION)
    assert not is_served(DAEMON)


def test_the_default_limits_are_those_of_the_wire() -> None:
    assert limits_of(LimitSettings()) == Limits()
