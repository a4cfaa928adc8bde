# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""One plugin goes wrong, in every way there is: the others do not notice, and its
status says what happened. The plugins are files, as an operator would bring them."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from pluggd.core.required import StartRefused
from pluggd.services.introspection import PluginInfo
from pluggd.testing import RunningDaemon, running_daemon

HEADER = """
from contextlib import asynccontextmanager
import trio
from pluggd.plugin import Registration, Skip, hookimpl
from pluggd.services.kind import Kind

def kind(name):
    return Kind(f"test.{name}.v1", object)
"""

GOOD = """
@asynccontextmanager
async def start(ctx):
    yield object()
"""

REGISTER = """
@hookimpl
def pluggd_register():
    return Registration(provides=kind("NAME"), id="x", start=start)
"""

HURRIED = REGISTER.replace("start=start", "start=start, deadline=0.05")
"""It alone has little time: the others are to start also when this machine is slow."""


def write(directory: Path, name: str, body: str, register: str = REGISTER) -> None:
    directory.mkdir(exist_ok=True)
    text = HEADER + textwrap.dedent(body) + register.replace("NAME", name)
    (directory / f"{name}.py").write_text(text)


@asynccontextmanager
async def daemon_with(
    tmp_path: Path,
    body: str,
    *,
    register: str = REGISTER,
    config: dict[str, Any] | None = None,
) -> AsyncGenerator[RunningDaemon]:
    """A daemon with the plugins aaa and zzz, which are fine, and mmm, which is not."""
    plugins = tmp_path / "plugins"
    write(plugins, "aaa", GOOD)
    write(plugins, "mmm", body, register)
    write(plugins, "zzz", GOOD)
    everything = {"plugin_dirs": [str(plugins)], **(config or {})}
    with trio.fail_after(30):
        async with running_daemon(tmp_path, everything, bundled=False) as running:
            for name in ("aaa", "zzz"):
                assert running.status(f"test.{name}.v1.x") == "ok"
            yield running


def info(running: RunningDaemon, uri: str = "test.mmm.v1.x") -> PluginInfo:
    return next(one for one in running.daemon.plugins() if one.uri == uri)


async def test_a_plugin_that_raises_on_import_fails_alone(tmp_path: Path) -> None:
    async with daemon_with(tmp_path, "raise ValueError('no such luck')") as running:
        broken = info(running, "mmm")
        assert broken.status == "failed"
        assert broken.reason.startswith("ValueError: no such luck (")
        assert "mmm.py:9)" in broken.reason
        assert "Traceback" in running.log_text


async def test_a_syntax_error_names_file_and_line(tmp_path: Path) -> None:
    async with daemon_with(tmp_path, "def broken(:\n    pass") as running:
        assert "mmm.py:9" in info(running, "mmm").reason


async def test_a_plugin_that_exits_on_import_fails_alone(tmp_path: Path) -> None:
    async with daemon_with(tmp_path, "raise SystemExit(3)") as running:
        assert info(running, "mmm").status == "failed"


async def test_a_plugin_that_raises_in_register_fails_alone(tmp_path: Path) -> None:
    register = "\n@hookimpl\ndef pluggd_register():\n    raise KeyError('gone')\n"
    async with daemon_with(tmp_path, GOOD, register=register) as running:
        broken = info(running, "mmm")
        assert broken.status == "failed"
        assert "KeyError: 'gone'" in broken.reason


async def test_a_misspelt_hook_is_named(tmp_path: Path) -> None:
    register = REGISTER.replace("pluggd_register", "plugd_register")
    async with daemon_with(tmp_path, GOOD, register=register) as running:
        assert "plugd_register" in info(running, "mmm").reason


async def test_a_module_without_the_hook_says_what_is_missing(tmp_path: Path) -> None:
    async with daemon_with(tmp_path, GOOD, register="") as running:
        assert "no function pluggd_register" in info(running, "mmm").reason


async def test_a_plugin_that_raises_in_start_fails_alone(tmp_path: Path) -> None:
    body = """
    @asynccontextmanager
    async def start(ctx):
        ctx.export("path", "/somewhere")
        raise OSError("no disk")
        yield
    """
    async with daemon_with(tmp_path, body) as running:
        broken = info(running)
        assert broken.status == "failed"
        assert broken.reason.startswith("OSError: no disk (")
        assert broken.exports == {"path": "/somewhere"}
        assert running.log_text.count("Traceback") == 1


async def test_an_error_of_the_closed_set_gives_its_class(tmp_path: Path) -> None:
    body = """
    from pluggd.errors import PermissionDenied

    @asynccontextmanager
    async def start(ctx):
        raise PermissionDenied("not for you")
        yield
    """
    async with daemon_with(tmp_path, body) as running:
        assert info(running).code == "permission_denied"


async def test_a_plugin_that_crashes_in_a_task_fails_alone(tmp_path: Path) -> None:
    body = """
    async def work():
        await trio.sleep(0)
        raise RuntimeError("lost my way")

    @asynccontextmanager
    async def start(ctx):
        ctx.spawn(work)
        yield object()
    """
    async with daemon_with(tmp_path, body) as running:
        while info(running).status == "ok":
            await trio.lowlevel.checkpoint()
        assert info(running).status == "failed"
        assert info(running).reason.startswith("task work: RuntimeError: lost my way")
    assert running.status("test.mmm.v1.x") == "failed"
    assert running.status("test.zzz.v1.x") == "stopped"


async def test_a_crash_in_a_nursery_around_yield_fails_alone(tmp_path: Path) -> None:
    body = """
    async def work():
        await trio.sleep(0.01)
        raise RuntimeError("lost my way")

    @asynccontextmanager
    async def start(ctx):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work)
            yield object()
    """
    async with daemon_with(tmp_path, body) as running:
        while info(running).status == "ok":
            await trio.lowlevel.checkpoint()
        assert info(running).reason.startswith("RuntimeError: lost my way")


async def test_a_plugin_that_raises_in_stop_fails_alone(tmp_path: Path) -> None:
    body = """
    @asynccontextmanager
    async def start(ctx):
        yield object()
        raise OSError("cannot let go")
    """
    async with daemon_with(tmp_path, body) as running:
        assert info(running).status == "ok"
    assert info(running).status == "failed"
    assert "OSError: cannot let go" in info(running).reason
    assert info(running).reason.endswith("while stopping")
    for name in ("aaa", "zzz"):
        assert running.status(f"test.{name}.v1.x") == "stopped"


async def test_a_plugin_that_never_returns_from_start_fails_at_its_deadline(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    body = """
    @asynccontextmanager
    async def start(ctx):
        await trio.sleep_forever()
        yield
    """
    before = trio.current_time()
    async with daemon_with(tmp_path, body, config={"start_deadline": 7}) as running:
        assert 6.9 < trio.current_time() - before < 8.1
        assert info(running).reason.startswith("start did not return within 7 s (")
        assert info(running).code == "deadline_exceeded"


async def test_a_plugin_that_never_returns_from_stop_fails_at_its_deadline(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    body = """
    @asynccontextmanager
    async def start(ctx):
        yield object()
        await trio.sleep_forever()
    """
    async with daemon_with(tmp_path, body, config={"stop_deadline": 3}) as running:
        pass
    assert info(running).reason.startswith("stop did not end within 3 s (")
    assert running.status("test.aaa.v1.x") == "stopped"


async def test_a_plugin_that_swallows_cancellation_is_left_behind(
    tmp_path: Path,
) -> None:
    body = """
    free = trio.Event()

    @asynccontextmanager
    async def start(ctx):
        while not free.is_set():
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                pass
        yield
    """
    async with daemon_with(tmp_path, body, register=HURRIED) as running:
        assert info(running).reason.startswith(
            "start did not return within 0.05 s and ignores being cancelled"
        )
        row = next(
            row for row in running.daemon.table.rows if row.kind == "test.mmm.v1"
        )
        assert row.registration is not None
        inspect.unwrap(row.registration.start).__globals__["free"].set()
    assert info(running).status == "failed"


async def test_a_plugin_that_blocks_the_thread_is_reported(tmp_path: Path) -> None:
    log_file = tmp_path / "pluggd.log"
    body = f"""
    import time
    from pathlib import Path

    @asynccontextmanager
    async def start(ctx):
        # The report comes from another thread, whenever that gets its turn.
        for _ in range(3000):
            if "plugin blocks the daemon" in Path({str(log_file)!r}).read_text():
                break
            time.sleep(0.01)
        yield object()
    """
    async with daemon_with(tmp_path, body, register=HURRIED) as running:
        assert "plugin blocks the daemon" in running.log_text
        assert re.search(r'mmm\.py", line \d+, in start', running.log_text)
        assert info(running).status == "failed"


async def test_a_plugin_that_yields_the_wrong_thing_is_told_what_is_missing(
    tmp_path: Path,
) -> None:
    register = """
from pluggd.services.introspection import INTROSPECTION

@hookimpl
def pluggd_register():
    return Registration(provides=INTROSPECTION, id="x", start=start)
"""
    async with daemon_with(tmp_path, GOOD, register=register) as running:
        broken = info(running, "pluggd.introspection.v1.x")
        assert "does not keep the interface of pluggd.introspection.v1" in broken.reason
        assert "has no plugins()" in broken.reason


async def test_ok_skipped_disabled_blocked_and_failed_in_one_configuration(
    tmp_path: Path,
) -> None:
    plugins = tmp_path / "plugins"
    write(plugins, "fine", GOOD)
    write(plugins, "off", GOOD)
    write(
        plugins,
        "skips",
        """
        @asynccontextmanager
        async def start(ctx):
            raise Skip("this kernel has no such thing")
            yield
        """,
    )
    write(
        plugins,
        "fails",
        """
        @asynccontextmanager
        async def start(ctx):
            raise OSError("the disk is on fire")
            yield
        """,
    )
    for name, required in (("middle", "fails"), ("last", "middle"), ("after", "off")):
        register = REGISTER.replace(
            "start=start", f'start=start, requires=(kind("{required}"),)'
        )
        write(plugins, name, GOOD, register)
    config = {"plugin_dirs": [str(plugins)], "disabled_plugins": ["test.off.v1.x"]}
    with trio.fail_after(30):
        async with running_daemon(tmp_path, config, bundled=False) as running:
            found = {one.id + one.kind: one for one in running.daemon.plugins()}
            status = {
                one.kind.split(".")[1]: one.status
                for one in found.values()
                if one.kind.startswith("test.")
            }
            last = info(running, "test.last.v1.x")
            after = info(running, "test.after.v1.x")
    assert status == {
        "fine": "ok",
        "off": "disabled",
        "skips": "skipped",
        "fails": "failed",
        "middle": "blocked",
        "last": "blocked",
        "after": "blocked",
    }
    assert [(cause.uri, cause.status) for cause in last.causes] == [
        ("test.middle.v1.x", "blocked"),
        ("test.fails.v1.x", "failed"),
    ]
    assert "because test.middle.v1.x: blocked, because test.fails.v1.x: failed" in (
        last.reason
    )
    assert "the disk is on fire" in last.reason
    assert "disabled in the configuration" in after.reason


async def test_required_plugins_refuse_the_start_and_name_all(tmp_path: Path) -> None:
    plugins = tmp_path / "plugins"
    for name in ("one", "two"):
        write(
            plugins,
            name,
            f"""
            @asynccontextmanager
            async def start(ctx):
                raise OSError("{name} is broken")
                yield
            """,
        )
    write(plugins, "good", GOOD)
    config = {
        "plugin_dirs": [str(plugins)],
        "required_plugins": ["test.one.v1.x", "test.two.v1.x", "test.good.v1.x"],
    }
    with trio.fail_after(30), pytest.raises(StartRefused) as caught:
        async with running_daemon(tmp_path, config, bundled=False):
            pass
    assert "test.one.v1.x: failed: OSError: one is broken" in caught.value.message
    assert "test.two.v1.x: failed: OSError: two is broken" in caught.value.message
    assert "test.good.v1.x" not in caught.value.message


async def test_strict_refuses_for_any_plugin_that_is_not_ok(tmp_path: Path) -> None:
    body = """
    @asynccontextmanager
    async def start(ctx):
        raise Skip("not here")
        yield
    """
    with pytest.raises(StartRefused, match=r"test.mmm.v1.x: skipped: not here"):
        async with daemon_with(tmp_path, body, config={"strict": True}):
            pass


# --- a registration that is wrong

BAD_SERVICES = {
    "must be declared async def": """
    class Bad:
        @rpc(result="x")
        def get(self) -> str: ...
    """,
    "needs a type": """
    class Bad:
        @rpc()
        async def get(self, *, name) -> None: ...
    """,
    "must be keyword-only": """
    class Bad:
        @rpc()
        async def get(self, name: str) -> None: ...
    """,
    "name 'Nowhere' is not defined": """
    class Bad:
        @rpc()
        async def get(self, *, name: "Nowhere") -> None: ...
    """,
}
BAD_REGISTRATIONS = {
    "requires must be a tuple of kinds, as in requires=(IMAGES,)": (
        'provides=kind("mmm"), id="x", start=start, requires=kind("q")'
    ),
    "wants must be a tuple": 'provides=kind("mmm"), id="x", start=start, wants="q.v1"',
    "must be an async context manager: decorate it": (
        'provides=kind("mmm"), id="x", start=start.__wrapped__'
    ),
    "start must be callable": 'provides=kind("mmm"), id="x", start=3',
    "config must be a Record": 'provides=kind("mmm"), id="x", start=start, config=3',
}


@pytest.mark.parametrize("text", BAD_SERVICES)
async def test_a_service_that_cannot_be_served_fails_alone(
    tmp_path: Path, text: str
) -> None:
    body = "from pluggd.services.rpc import rpc\n" + textwrap.dedent(BAD_SERVICES[text])
    register = """
@hookimpl
def pluggd_register():
    return Registration(provides=Kind("test.mmm.v1", Bad), id="x", start=start)
"""
    good = textwrap.dedent(GOOD)
    async with daemon_with(tmp_path, body + good, register=register) as running:
        assert info(running).status == "failed"
        assert text in info(running).reason
        assert "Traceback" not in running.log_text
        error = running.daemon.services.dispatcher.services()["mmm.v1"]
        assert error is not None
        assert text in error.message


@pytest.mark.parametrize("text", BAD_REGISTRATIONS)
async def test_a_wrong_registration_fails_alone(tmp_path: Path, text: str) -> None:
    arguments = BAD_REGISTRATIONS[text]
    register = f"""
@hookimpl
def pluggd_register():
    return Registration({arguments})
"""
    config = {"plugins": {"test.mmm.v1.x": {"some": "option"}}}
    async with daemon_with(tmp_path, GOOD, register=register, config=config) as running:
        assert info(running).status == "failed"
        assert text in info(running).reason
