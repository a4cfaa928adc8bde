# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What [select] and [decorate] mean for alternatives and decorators, in a running daemon
as well: who starts, who is served, and what happens when one of them does not work."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
import trio

from pluggd.client import Client
from pluggd.core.choosing import layer, not_chosen, undecided
from pluggd.errors import FailedPrecondition, InvalidArgument, Unavailable
from pluggd.plugin import Context, NoConfig, Registration, inline
from pluggd.services.kind import Kind
from pluggd.services.rpc import rpc
from pluggd.testing import RunningDaemon, running_daemon


class Greeter(Protocol):
    @rpc(result="text", namespaced=False)
    async def greet(self) -> str: ...


GREETER = Kind("test.greeter.v1", Greeter)
USER = Kind("test.user.v1", Greeter)
NEED = Kind("test.need.v1", object)


class Says:
    def __init__(self, text: str) -> None:
        self.text = text

    @inline
    def greet(self) -> str:
        return self.text


class Around:
    def __init__(self, name: str, inner: Greeter) -> None:
        self._name, self._inner = name, inner

    async def greet(self) -> str:
        return f"{self._name}({await self._inner.greet()})"


def plain(id: str = "store", **more: Any) -> Registration[Greeter, NoConfig]:
    @asynccontextmanager
    async def start(ctx: Context[NoConfig]) -> AsyncGenerator[Greeter]:
        yield Says(id)

    return Registration(provides=GREETER, id=id, start=start, **more)


def decorator(id: str, **more: Any) -> Registration[Greeter, NoConfig]:
    @asynccontextmanager
    async def start(ctx: Context[NoConfig]) -> AsyncGenerator[Greeter]:
        yield Around(id, ctx.decorated(GREETER))

    return Registration(provides=GREETER, id=id, start=start, decorates=True, **more)


def user() -> Registration[Greeter, NoConfig]:
    """What it says is what others in the process get."""

    @asynccontextmanager
    async def start(ctx: Context[NoConfig]) -> AsyncGenerator[Greeter]:
        everybody = ctx.get_all(GREETER)
        ctx.export("all", ", ".join([await one.greet() for one in everybody.values()]))
        yield Around("user", ctx.get(GREETER))

    return Registration(provides=USER, id="x", start=start, requires=(GREETER,))


class Made:
    """A `Choice`."""

    def __init__(self, select: str = "", decorate: Sequence[str] = ()) -> None:
        self._select, self._decorate = select, decorate

    def selected(self, kind: str) -> str:
        return self._select if kind == GREETER.name else ""

    def decorators(self, kind: str) -> Sequence[str]:
        return self._decorate if kind == GREETER.name else ()


STORE, OTHER, OUTER, INNER = (
    f"test.greeter.v1.{id_}" for id_ in ("store", "other", "outer", "inner")
)


def test_without_a_choice_neither_alternatives_nor_decorators_start() -> None:
    known = [plain(), plain("other", alternative=True), decorator("outer")]
    assert not_chosen(known, Made()) == {
        OTHER: 'not selected: [select] greeter = "other" starts it in place of the other',
        OUTER: 'decorates nothing: [decorate] greeter = ["outer"] puts it over the '
        "provider of test.greeter.v1",
    }


def test_several_providers_of_which_none_is_chosen_are_told() -> None:
    known = [
        plain(),
        plain("two"),
        plain("other", alternative=True),
        decorator("outer"),
    ]
    (told,) = undecided(known, Made(), ())
    assert "kind test.greeter.v1 has more than one provider, store, two, and" in told
    assert '[select] greeter = "store"' in told
    assert undecided(known, Made("two"), ()) == []
    assert undecided(known, Made("other"), ()) == []
    assert undecided(known, Made(), [STORE]) == []
    assert undecided(known[1:], Made(), ()) == []
    assert undecided([silent("one"), silent("two")], Made(), ()) == []


def silent(id: str) -> Registration[object, NoConfig]:
    """Of a kind that nobody calls: several of it may be what is meant."""
    return Registration(provides=NEED, id=id, start=plain().start)


def test_a_selected_alternative_takes_the_place_of_all_others() -> None:
    known = [plain(), plain("two"), plain("other", alternative=True)]
    off = not_chosen(known, Made("other"))
    assert off == dict.fromkeys(
        [STORE, "test.greeter.v1.two"], '[select] greeter = "other" takes its place'
    )
    assert not_chosen(known, Made("two")).keys() == {OTHER}


def test_who_is_no_alternative_leaves_the_others_alone() -> None:
    assert not_chosen([plain(), plain("two"), user()], Made("two")) == {}


def test_the_place_in_the_configuration_is_the_layer() -> None:
    choice = Made(decorate=["inner", "outer"])
    assert layer(plain(), choice) == 0
    assert layer(decorator("inner"), choice) == 1
    assert layer(decorator("outer"), choice) == 2
    assert layer(decorator("other"), choice) == 0


# --- in a daemon


@asynccontextmanager
async def running(
    tmp_path: Path, text: str, *plugins: Registration[Any, Any]
) -> AsyncGenerator[tuple[RunningDaemon, Client]]:
    with trio.fail_after(30):
        async with (
            running_daemon(tmp_path, text, plugins, bundled=False) as daemon,
            daemon.client() as client,
        ):
            yield daemon, client


async def reload(daemon: RunningDaemon, tmp_path: Path, text: str) -> list[str]:
    """The plugins that the reload changed."""
    (tmp_path / "config.toml").write_text(text)
    change = await daemon.daemon.face.reload()
    return sorted(one.uri for one in change.plugins)


BOTH = '[decorate]\ngreeter = ["inner", "outer"]\n'
ALL = (plain(), decorator("outer"), decorator("inner"), user())


async def test_the_outermost_is_what_everybody_gets(tmp_path: Path) -> None:
    async with running(tmp_path, BOTH, *ALL) as (daemon, client):
        assert await client.get(GREETER).greet() == "outer(inner(store))"
        assert await client.get(USER).greet() == "user(outer(inner(store)))"
        infos = {one.uri: one for one in daemon.daemon.face.plugins()}
        assert infos["test.user.v1.x"].exports == {"all": "outer(inner(store))"}
        assert infos[OUTER].decorates == INNER
        assert infos[INNER].decorates == STORE
        assert infos[STORE].decorates == ""
        order = [
            one.uri for one in daemon.daemon.face.plugins() if "daemon" not in one.uri
        ]
        assert order == [STORE, INNER, OUTER, "test.user.v1.x"]


async def test_the_order_in_the_configuration_counts_and_can_change(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, BOTH, *ALL) as (daemon, client):
        other = '[decorate]\n"test.greeter.v1" = ["outer", "inner"]\n'
        changed = await reload(daemon, tmp_path, other)
        assert changed == [INNER, OUTER, "test.user.v1.x"]
        assert await client.get(USER).greet() == "user(inner(outer(store)))"
        changed = await reload(daemon, tmp_path, '[decorate]\ngreeter = ["inner"]')
        assert OUTER in changed
        assert await client.get(GREETER).greet() == "inner(store)"
        await reload(daemon, tmp_path, "")
        assert await client.get(GREETER).greet() == "store"
        assert await client.get(USER).greet() == "user(store)"
        await reload(daemon, tmp_path, BOTH)
        assert await client.get(USER).greet() == "user(outer(inner(store)))"


async def test_a_disabled_decorator_is_passed_over(tmp_path: Path) -> None:
    async with running(tmp_path, BOTH, *ALL) as (daemon, client):
        await daemon.daemon.face.disable_plugin(INNER)
        assert await client.get(GREETER).greet() == "outer(store)"
        await daemon.daemon.face.disable_plugin(OUTER)
        assert await client.get(USER).greet() == "user(store)"
        await daemon.daemon.face.enable_plugin(INNER)
        assert await client.get(USER).greet() == "user(inner(store))"


async def test_what_is_told_is_what_was_disabled_and_not_what_never_started(
    tmp_path: Path,
) -> None:
    others = [decorator("outer"), plain("other", alternative=True)]
    async with running(tmp_path, "", plain(), user(), *others) as (daemon, client):
        await daemon.daemon.face.disable_plugin(STORE)
        with pytest.raises(
            Unavailable, match=f"because {STORE}: disabled .disabled by"
        ):
            await client.get(GREETER).greet()
        infos = {one.uri: one for one in daemon.daemon.face.plugins()}
        assert [one.uri for one in infos["test.user.v1.x"].causes] == [STORE]


async def test_a_restart_of_what_is_decorated_restarts_the_decorators(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, BOTH, *ALL) as (daemon, client):
        for uri, names in {
            STORE: [STORE, INNER, OUTER, "test.user.v1.x"],
            INNER: [INNER, OUTER, "test.user.v1.x"],
            OUTER: [OUTER, "test.user.v1.x"],
        }.items():
            change = await daemon.daemon.face.restart_plugin(uri)
            assert [(one.uri, one.after) for one in change.plugins] == [
                (name, "ok") for name in names
            ]
            assert await client.get(USER).greet() == "user(outer(inner(store)))"


async def test_what_forbids_and_does_not_work_forbids_everything(
    tmp_path: Path,
) -> None:
    @asynccontextmanager
    async def start(ctx: Context[NoConfig]) -> AsyncGenerator[Greeter]:
        raise RuntimeError("lost the rules")
        yield

    broken = Registration(provides=GREETER, id="inner", start=start, decorates=True)
    plugins = (plain(), decorator("outer"), broken, user())
    async with running(tmp_path, BOTH, *plugins) as (daemon, client):
        for kind in (GREETER, USER):
            with pytest.raises(Unavailable, match="lost the rules"):
                await client.get(kind).greet()
        statuses = {one.uri: one.status for one in daemon.daemon.face.plugins()}
        assert statuses[OUTER] == statuses["test.user.v1.x"] == "blocked"
        assert statuses[STORE] == "ok"


async def test_a_decorator_that_fails_later_takes_the_service_with_it(
    tmp_path: Path,
) -> None:
    crash = trio.Event()

    async def work() -> None:
        await crash.wait()
        raise RuntimeError("lost the rules")

    @asynccontextmanager
    async def start(ctx: Context[NoConfig]) -> AsyncGenerator[Greeter]:
        ctx.spawn(work)
        yield Around("inner", ctx.decorated(GREETER))

    fragile = Registration(provides=GREETER, id="inner", start=start, decorates=True)
    plugins = (plain(), decorator("outer"), fragile)
    async with running(tmp_path, BOTH, *plugins) as (_, client):
        assert await client.get(GREETER).greet() == "outer(inner(store))"
        crash.set()
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(Unavailable, match="lost the rules"):
            await client.get(GREETER).greet()


async def test_nothing_to_decorate_blocks(tmp_path: Path) -> None:
    text = '[decorate]\ngreeter = ["inner"]'
    async with running(tmp_path, text, decorator("inner")) as (daemon, _):
        (info,) = [one for one in daemon.daemon.face.plugins() if one.uri == INNER]
        assert info.status == "blocked"
        assert info.reason.startswith("decorates test.greeter.v1, because")


async def test_a_decorator_stands_over_the_selected_provider(tmp_path: Path) -> None:
    text = '[select]\ngreeter = "two"\n[decorate]\ngreeter = ["inner"]'
    plugins = (plain("one"), plain("two"), decorator("inner"))
    async with running(tmp_path, text, *plugins) as (daemon, client):
        assert await client.get(GREETER).greet() == "inner(two)"
        await reload(daemon, tmp_path, text.replace("two", "one"))
        assert await client.get(GREETER).greet() == "inner(one)"


async def test_an_alternative_starts_when_selected_and_takes_turns(
    tmp_path: Path,
) -> None:
    plugins = (plain(), plain("other", alternative=True), user())
    async with running(tmp_path, "", *plugins) as (daemon, client):
        assert await client.get(USER).greet() == "user(store)"
        text = '[select]\ngreeter = "other"'
        assert await reload(daemon, tmp_path, text) == [OTHER, STORE, "test.user.v1.x"]
        assert await client.get(USER).greet() == "user(other)"
        infos = {one.uri: one for one in daemon.daemon.face.plugins()}
        assert (infos[STORE].status, infos[STORE].reason) == (
            "disabled",
            '[select] greeter = "other" takes its place',
        )
        await reload(daemon, tmp_path, "")
        assert await client.get(USER).greet() == "user(store)"


async def test_what_is_not_chosen_cannot_be_enabled_by_hand(tmp_path: Path) -> None:
    plugins = (plain(), plain("other", alternative=True), decorator("inner"))
    async with running(tmp_path, "", *plugins) as (daemon, _):
        for uri, way in ((OTHER, r"\[select\]"), (INNER, r"\[decorate\]")):
            with pytest.raises(FailedPrecondition, match=way):
                await daemon.daemon.face.enable_plugin(uri)


async def test_a_restart_leaves_disabled_dependents_alone(tmp_path: Path) -> None:
    @asynccontextmanager
    async def start(ctx: Context[NoConfig]) -> AsyncGenerator[object]:
        yield object()

    need = Registration(provides=NEED, id="x", start=start)
    off = plain("off", requires=(NEED,))
    text = 'disabled_plugins = ["test.greeter.v1.off"]'
    async with running(tmp_path, text, need, off) as (daemon, _):
        change = await daemon.daemon.face.restart_plugin("test.need.v1.x")
        assert [one.uri for one in change.plugins] == ["test.need.v1.x"]
        assert {
            one.status for one in daemon.daemon.face.plugins() if "off" in one.uri
        } == {"disabled"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            '[select]\ngreeter = "inner"',
            r"decorates greeter: name it under \[decorate\]",
        ),
        ('[decorate]\ngreeter = ["store"]', r"name it under \[select\]"),
        ('[decorate]\ngreeter = ["nobody"]', "there is inner, outer"),
        ('[decorate]\ngreter = ["inner"]', 'there is no kind "greter"'),
        ('[decorate]\ngreeter = ["inner", "inner"]', "names a plugin twice"),
    ],
)
async def test_a_choice_that_cannot_be_is_told(
    text: str, expected: str, tmp_path: Path
) -> None:
    async with running(tmp_path, "", *ALL) as (daemon, _):
        with pytest.raises(InvalidArgument, match=expected):
            await reload(daemon, tmp_path, text)


async def test_only_who_decorates_gets_what_is_decorated(tmp_path: Path) -> None:
    @asynccontextmanager
    async def start(ctx: Context[NoConfig]) -> AsyncGenerator[Greeter]:
        yield ctx.decorated(GREETER)

    curious = Registration(provides=USER, id="x", start=start, wants=(GREETER,))
    async with running(tmp_path, "", plain(), curious) as (daemon, _):
        (info,) = [one for one in daemon.daemon.face.plugins() if one.kind == USER.name]
        assert info.status == "failed"
        assert "set decorates=True" in info.reason
