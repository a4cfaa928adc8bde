# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The figures of a running daemon, and what plugins add to them."""

from __future__ import annotations

import io
import logging
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from pluggd.core import probe
from pluggd.core.log import TextFormatter
from pluggd.core.probe import Probe
from pluggd.model.figures import Figure, Histogram, counter, gauge, histogram
from pluggd.plugin import Context, FigureSource, NoConfig, Registration
from pluggd.services.introspection import Stats
from pluggd.services.kind import Kind
from pluggd.services.namespaces import Namespace
from pluggd.testing import running_daemon


class Thing:
    pass


def plugin(id_: str, *sources: FigureSource) -> Registration[Thing, NoConfig]:
    @asynccontextmanager
    async def start(ctx: Context[NoConfig]) -> AsyncGenerator[Thing]:
        for source in sources:
            ctx.export_figures(source)
        yield Thing()

    return Registration(provides=Kind(f"test.{id_}.v1", Thing), id="x", start=start)


def values(stats: Stats, name: str) -> dict[str, float]:
    """By plugin."""
    return {
        sample.labels.get("plugin", ""): sample.value
        for figure in stats.figures
        if figure.name == name
        for sample in figure.samples
    }


async def test_figures_of_plugins_come_with_their_plugin(tmp_path: Path) -> None:
    async def later() -> list[Figure]:
        await trio.lowlevel.checkpoint()
        return [counter("dishes", "Dishes.", 2)]

    plugins = [plugin("a", lambda: [counter("dishes", "Dishes.", 1)])]
    plugins.append(plugin("b", later))
    async with running_daemon(tmp_path, plugins=plugins, bundled=False) as daemon:
        stats = await daemon.daemon.face.stats()
    assert values(stats, "dishes") == {"test.a.v1.x": 1, "test.b.v1.x": 2}
    assert stats.started_at < stats.taken_at


async def test_only_what_is_asked_for_is_told(tmp_path: Path) -> None:
    async with running_daemon(tmp_path) as daemon, daemon.client() as client:
        stats = await client.introspection.stats(names=["gc_", "content_blobs"])
    names = [figure.name for figure in stats.figures]
    assert "gc_runs" in names
    assert "content_blobs" in names
    assert names == sorted(names)
    assert all(name.startswith(("gc_", "content_blobs")) for name in names)


async def test_a_plugin_with_wrong_figures_loses_its_own_alone(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async def hangs() -> Iterable[Figure]:
        await trio.sleep_forever()
        raise AssertionError

    def raises() -> Iterable[Figure]:
        raise ValueError("no cook")

    def other() -> Any:
        return [7]

    plugins = [
        plugin("hangs", hangs, lambda: [gauge("good", "", 1)]),
        plugin("raises", raises),
        plugin("number", other),
        plugin("name", lambda: [gauge("Bad-Name", "", 1)]),
        plugin("zclash", lambda: [counter("good", "", 1)]),
        plugin("bounds", lambda: [histogram("loop_lag_seconds", "", Histogram((1,)))]),
    ]
    async with running_daemon(tmp_path, plugins=plugins, bundled=False) as daemon:
        await daemon.daemon.face.stats()
        stats = await daemon.daemon.face.stats()
        assert len(values(stats, "good")) == 1
        failures = values(stats, "figures_failures")
        assert set(failures) == {one.uri for one in plugins}
        assert set(failures.values()) == {2}
        # Each is said once, however often somebody asks.
        assert daemon.log_text.count("plugin has no figures") == len(plugins)
        assert "ValueError: no cook" in daemon.log_text


async def test_a_failed_plugin_has_no_figures(tmp_path: Path) -> None:
    @asynccontextmanager
    async def start(ctx: Context[NoConfig]) -> AsyncGenerator[Thing]:
        ctx.export_figures(lambda: [gauge("dishes", "", 1)])
        raise ValueError("closed")
        yield

    broken = Registration(provides=Kind("test.a.v1", Thing), id="x", start=start)
    async with running_daemon(tmp_path, plugins=[broken], bundled=False) as daemon:
        stats = await daemon.daemon.face.stats()
    assert not values(stats, "dishes")


async def test_the_daemon_counts_what_happens(tmp_path: Path) -> None:
    async with running_daemon(tmp_path) as daemon, daemon.client() as client:
        await client.namespaces.list()
        stats = await client.introspection.stats()
        (info,) = [
            one
            for one in (await client.introspection.plugins()).plugins
            if one.uri == "pluggd.namespaces.v1.store"
        ]
    figures = {figure.name: figure for figure in stats.figures}
    (listed,) = [
        one
        for one in figures["call_seconds"].samples
        if one.labels["method"] == "namespaces.v1.list"
    ]
    assert listed.labels["plugin"] == "pluggd.namespaces.v1.store"
    assert sum(listed.counts) == 1
    assert (info.calls, info.errors) == (1, 0)
    (flying,) = [one for one in figures["calls_in_flight"].samples if one.value]
    assert flying.labels["method"] == "introspection.v1.stats"
    tasks = values(stats, "plugin_tasks")
    assert tasks["pluggd.metadata.v1.lmdb"] == 2
    assert values(stats, "plugin_start_seconds")["pluggd.content.v1.local"] > 0
    assert figures["connections"].samples[0].value == 1
    assert figures["process_resident_memory_bytes"].samples[0].value > 1 << 20


async def test_every_bundled_store_has_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whether they have them, not how fast this machine is.
    monkeypatch.setattr("pluggd.core.figures.PATIENCE", 30.0)
    async with running_daemon(tmp_path) as daemon, daemon.client() as client:
        await client.namespaces.create(namespace=Namespace(name="a"))
        await client.gc.run(wait=True)
        stats = await client.introspection.stats()
    names = {figure.name for figure in stats.figures if figure.samples}
    assert {
        "metadata_batch_updates",
        "metadata_commit_seconds",
        "events",
        "gc_runs",
        "content_ingests",
    } <= names
    assert "figures_failures" not in names


async def test_the_probe_sees_how_late_the_loop_is(
    mock_clock: trio.testing.MockClock,
) -> None:
    measured = Probe()
    with trio.fail_after(10_000):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(measured.run)
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(probe.EVERY + 0.3)  # nothing ran for so long
            while not sum(measured.loop_lag.counts):
                await trio.lowlevel.checkpoint()
            while not sum(measured.thread_lag.counts):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    assert 0.29 < measured.loop_lag.total < 0.31
    names = {figure.name for figure in measured.figures()}
    assert {"loop_lag_seconds", "thread_lag_seconds", "threads_waiting"} <= names


async def test_lines_of_libraries_carry_the_plugin_whose_task_it_is(
    tmp_path: Path,
) -> None:
    logger = logging.getLogger("test.library")
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(TextFormatter())
    logger.addHandler(handler)

    @asynccontextmanager
    async def start(ctx: Context[NoConfig]) -> AsyncGenerator[Thing]:
        said = trio.Event()

        async def task() -> None:
            await trio.to_thread.run_sync(logger.warning, "from a thread")
            said.set()

        logger.warning("from the start")
        ctx.spawn(task)
        await said.wait()
        yield Thing()

    mine = Registration(provides=Kind("test.a.v1", Thing), id="x", start=start)
    async with running_daemon(tmp_path, plugins=[mine], bundled=False):
        logger.warning("from nobody")
    first, second, third = written.getvalue().splitlines()
    assert "plugin=test.a.v1.x" in first
    assert "plugin=test.a.v1.x" in second
    assert "plugin" not in third
