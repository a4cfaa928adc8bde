# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How plugins live together in one daemon."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.lowlevel

from pluggd.core.locks import AlreadyRunning
from pluggd.errors import FailedPrecondition, NotFound, PluggdError
from pluggd.model.record import Record
from pluggd.model.types import Platform
from pluggd.plugin import Context, Registration
from pluggd.services.kind import Kind
from pluggd.testing import RunningDaemon, running_daemon

Body = Callable[[Context[Any]], AsyncGenerator[object]]


def kind(name: str) -> Kind[Any]:
    return Kind(f"test.{name}.v1", object)


def plugin(
    name: str, body: Body, *requires: str, id: str = "x", **options: Any
) -> Registration[Any, Any]:
    return Registration(
        provides=kind(name),
        id=id,
        start=asynccontextmanager(body),
        requires=tuple(kind(one) for one in requires),
        **options,
    )


async def fine(ctx: Context[Any]) -> AsyncGenerator[object]:
    yield object()


@asynccontextmanager
async def running(
    tmp_path: Path, *plugins: Registration[Any, Any], **config: Any
) -> AsyncGenerator[RunningDaemon]:
    with trio.fail_after(60):
        async with running_daemon(tmp_path, config, plugins, bundled=False) as daemon:
            yield daemon


def reason(daemon: RunningDaemon, name: str) -> str:
    uri = f"test.{name}.v1.x"
    return next(one.reason for one in daemon.daemon.plugins() if one.uri == uri)


async def test_plugins_start_in_order_and_stop_in_reverse(tmp_path: Path) -> None:
    calls: list[str] = []

    async def noted(ctx: Context[Any]) -> AsyncGenerator[object]:
        calls.append(f"start {ctx.uri}")
        yield object()
        calls.append(f"stop {ctx.uri}")

    async with running(
        tmp_path, plugin("a", noted, "b"), plugin("b", noted), plugin("c", noted, "a")
    ) as daemon:
        listed = [one.uri for one in daemon.daemon.plugins() if one.kind[:5] == "test."]
        assert listed == ["test.b.v1.x", "test.a.v1.x", "test.c.v1.x"]
    assert calls == [
        "start test.b.v1.x",
        "start test.a.v1.x",
        "start test.c.v1.x",
        "stop test.c.v1.x",
        "stop test.a.v1.x",
        "stop test.b.v1.x",
    ]


async def test_being_cancelled_stops_in_the_same_order(tmp_path: Path) -> None:
    calls: list[str] = []

    async def noted(ctx: Context[Any]) -> AsyncGenerator[object]:
        yield object()
        await trio.lowlevel.checkpoint()
        calls.append(ctx.uri)

    with trio.CancelScope() as scope:
        async with running(tmp_path, plugin("a", noted), plugin("b", noted, "a")):
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert calls == ["test.b.v1.x", "test.a.v1.x"]


async def test_a_stop_in_the_middle_of_the_start_undoes_what_was_started(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    calls: list[str] = []
    in_start = trio.Event()

    async def noted(ctx: Context[Any]) -> AsyncGenerator[object]:
        yield object()
        calls.append("a stopped")

    async def slow(ctx: Context[Any]) -> AsyncGenerator[object]:
        in_start.set()
        try:
            await trio.sleep(20)
            yield object()
        finally:
            calls.append("b unwound")

    async def never(ctx: Context[Any]) -> AsyncGenerator[object]:
        calls.append("c started")
        yield object()

    plugins = [plugin("a", noted), plugin("b", slow), plugin("c", never)]
    before = trio.current_time()
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            async def stop_then() -> None:
                await in_start.wait()
                scope.cancel()

            nursery.start_soon(stop_then)
            async with running(tmp_path, *plugins):
                raise AssertionError("it never is ready")
    assert calls == ["b unwound", "a stopped"]
    assert trio.current_time() - before < 1


async def test_being_hurried_cancels_a_slow_stop(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    stopping = trio.Event()
    calls: list[str] = []

    async def slow(ctx: Context[Any]) -> AsyncGenerator[object]:
        yield object()
        stopping.set()
        await trio.sleep(9)

    async def noted(ctx: Context[Any]) -> AsyncGenerator[object]:
        yield object()
        calls.append("stopped")

    before = trio.current_time()
    async with running(tmp_path, plugin("a", noted), plugin("b", slow)) as daemon:
        daemon.daemon.stop()
        await stopping.wait()
        daemon.daemon.hurry()
    assert trio.current_time() - before < 3
    assert daemon.status("test.b.v1.x") == "stopped"
    assert reason(daemon, "b") == "hurried"
    assert calls == ["stopped"]


async def test_all_stops_together_have_a_bound(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async def slow(ctx: Context[Any]) -> AsyncGenerator[object]:
        yield object()
        await trio.sleep(100)

    plugins = [plugin(f"p{number}", slow) for number in range(10)]
    async with running(
        tmp_path, *plugins, stop_deadline=10, shutdown_deadline=12
    ) as daemon:
        before = trio.current_time()
        await daemon.stop()
        assert trio.current_time() - before < 14


async def test_a_registration_may_have_a_deadline_of_its_own(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async def slow(ctx: Context[Any]) -> AsyncGenerator[object]:
        await trio.sleep(10)
        yield object()

    async with running(
        tmp_path, plugin("a", slow, deadline=20), plugin("b", slow), start_deadline=5
    ) as daemon:
        assert daemon.status("test.a.v1.x") == "ok"
        assert daemon.status("test.b.v1.x") == "failed"


async def test_tasks_end_before_the_code_after_yield_runs(tmp_path: Path) -> None:
    calls: list[str] = []

    async def work(name: str) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.lowlevel.checkpoint()
            calls.append(name)

    async def start(ctx: Context[Any]) -> AsyncGenerator[object]:
        ctx.spawn(work, "first")
        ctx.spawn(work, "second", name="the second")
        yield object()
        calls.append("stop")
        with pytest.raises(RuntimeError, match="is stopping: no new tasks"):
            ctx.spawn(work, "third")

    async with running(tmp_path, plugin("a", start)) as daemon:
        await trio.testing.wait_all_tasks_blocked()
    assert daemon.status("test.a.v1.x") == "stopped"
    assert sorted(calls[:2]) == ["first", "second"]
    assert calls[2:] == ["stop"]


async def test_a_task_that_crashes_during_the_start_fails_it_with_its_reason(
    tmp_path: Path,
) -> None:
    async def crash() -> None:
        raise ValueError("too early")

    async def start(ctx: Context[Any]) -> AsyncGenerator[object]:
        ctx.spawn(crash)
        await trio.sleep_forever()
        yield object()

    async with running(tmp_path, plugin("a", start)) as daemon:
        assert "ValueError: too early" in reason(daemon, "a")


async def test_dependents_of_a_plugin_that_fails_later_stay(tmp_path: Path) -> None:
    crash_now = trio.Event()

    async def crash() -> None:
        await crash_now.wait()
        raise ValueError("later")

    async def start(ctx: Context[Any]) -> AsyncGenerator[object]:
        ctx.spawn(crash)
        yield object()

    async with running(tmp_path, plugin("a", start), plugin("b", fine, "a")) as daemon:
        crash_now.set()
        while daemon.status("test.a.v1.x") == "ok":
            await trio.lowlevel.checkpoint()
        assert daemon.status("test.a.v1.x") == "failed"
        assert daemon.status("test.b.v1.x") == "ok"


async def test_a_start_that_ends_by_itself_is_a_failure(tmp_path: Path) -> None:
    async def start(ctx: Context[Any]) -> AsyncGenerator[object]:
        with trio.move_on_after(0.01):
            yield object()

    async with running(tmp_path, plugin("a", start)) as daemon:
        while daemon.status("test.a.v1.x") == "ok":
            await trio.lowlevel.checkpoint()
        assert reason(daemon, "a") == "start ended before it was told to"


async def test_two_daemons_in_one_process_do_not_meet(tmp_path: Path) -> None:
    async with running(tmp_path / "one", plugin("a", fine)) as one:
        async with running(tmp_path / "two", plugin("b", fine)) as two:
            uris = {info.uri for info in one.daemon.plugins()}
            assert "test.b.v1.x" not in uris
            await two.stop()
            assert one.status("test.a.v1.x") == "ok"
        assert "test.b" not in one.log_text


async def test_a_second_daemon_on_the_same_root_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path):
        with pytest.raises(AlreadyRunning, match=r"root .* in use"):
            async with running(tmp_path):
                pass


# --- what a plugin is given


class Options(Record, frozen=True):
    size: int = 3


async def test_the_context_has_config_directories_and_facts(tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    async def start(ctx: Context[Options]) -> AsyncGenerator[object]:
        seen.update(config=ctx.config, root=ctx.root, state=ctx.state)
        seen.update(root_mode=ctx.root.stat().st_mode & 0o777)
        seen.update(state_mode=ctx.state.stat().st_mode & 0o777)
        ctx.export("path", "/x")
        ctx.capability("resume")
        ctx.capability("resume")
        ctx.platform(Platform(os="linux", architecture="amd64"))
        ctx.log.info("hello", extra={"size": ctx.config.size})
        yield object()

    config = {"plugins": {"test.a.v1.x": {"size": 5}}}
    async with running(
        tmp_path, plugin("a", start, config=Options), **config
    ) as daemon:
        info = next(one for one in daemon.daemon.plugins() if one.kind == "test.a.v1")
        assert "msg=hello plugin=test.a.v1.x size=5" in daemon.log_text
    assert seen == {
        "config": Options(size=5),
        "root": tmp_path / "root" / "test.a.v1.x",
        "state": tmp_path / "state" / "test.a.v1.x",
        "root_mode": 0o700,
        "state_mode": 0o711,
    }
    assert info.exports == {"path": "/x"}
    assert info.capabilities == ["resume"]
    assert info.platforms == [Platform(os="linux", architecture="amd64")]


async def ask(
    tmp_path: Path,
    question: Callable[[Context[Any]], Any],
    *others: Registration[Any, Any],
    wants: tuple[Kind[Any], ...] = (),
    **config: Any,
) -> Any:
    """The answer to a question that a plugin asks its context."""
    answer: list[Any] = []

    async def start(ctx: Context[Any]) -> AsyncGenerator[object]:
        try:
            answer.append(question(ctx))
        except PluggdError as error:
            answer.append(error)
        yield object()

    async with running(tmp_path, *others, plugin("z", start, wants=wants), **config):
        return answer[0]


async def test_a_declared_kind_is_given(tmp_path: Path) -> None:
    answer = await ask(
        tmp_path, lambda ctx: ctx.get(kind("a")), plugin("a", fine), wants=(kind("a"),)
    )
    assert type(answer) is object


async def test_a_kind_that_was_not_declared_is_refused(tmp_path: Path) -> None:
    answer = await ask(tmp_path, lambda ctx: ctx.get(kind("a")), plugin("a", fine))
    assert isinstance(answer, FailedPrecondition)
    assert "asks for test.a.v1, which it does not declare" in answer.message


async def test_a_wanted_kind_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    answer = await ask(tmp_path, lambda ctx: ctx.get(kind("a")), wants=(kind("a"),))
    assert isinstance(answer, NotFound)
    assert answer.message.startswith("plugin for test.a.v1: not found")


async def test_find_gives_none_instead(tmp_path: Path) -> None:
    assert (
        await ask(tmp_path, lambda ctx: ctx.find(kind("a")), wants=(kind("a"),)) is None
    )


TWO = (plugin("a", fine, id="one"), plugin("a", fine, id="two"))


async def test_an_ambiguous_kind_names_its_candidates(tmp_path: Path) -> None:
    answer = await ask(
        tmp_path, lambda ctx: ctx.get(kind("a")), *TWO, wants=(kind("a"),)
    )
    assert isinstance(answer, FailedPrecondition)
    assert "more than one provider: one, two" in answer.message


async def test_all_providers_are_given_by_id(tmp_path: Path) -> None:
    answer = await ask(
        tmp_path, lambda ctx: sorted(ctx.get_all(kind("a"))), *TWO, wants=(kind("a"),)
    )
    assert answer == ["one", "two"]


async def test_the_selected_provider_is_given(tmp_path: Path) -> None:
    answer = await ask(
        tmp_path,
        lambda ctx: ctx.get(kind("a")) is ctx.get_all(kind("a"))["two"],
        *TWO,
        wants=(kind("a"),),
        select={"a": "two"},
    )
    assert answer is True


async def test_a_plugin_is_blocked_when_the_selected_provider_fails(
    tmp_path: Path,
) -> None:
    async def broken(ctx: Context[Any]) -> AsyncGenerator[object]:
        raise ValueError("no")
        yield

    async with running(
        tmp_path,
        plugin("a", fine, id="one"),
        plugin("a", broken, id="two"),
        plugin("z", fine, "a"),
        select={"a": "two"},
    ) as daemon:
        assert "test.a.v1.two: failed" in reason(daemon, "z")
