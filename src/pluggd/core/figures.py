# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The figures of a daemon: those of its core, and of every plugin that has some.

They are made when somebody asks. A plugin whose function raises, hangs or returns
what could not be shown loses its own figures and nobody else's.
"""

from __future__ import annotations

import inspect
import os
import resource
from collections.abc import Iterable, Sequence
from typing import Any

import trio

import pluggd
from pluggd.core.log import Log
from pluggd.core.statistics import Statistics
from pluggd.core.status import Status
from pluggd.core.table import Row
from pluggd.errors import InvalidArgument
from pluggd.model.figures import (
    LATENCY,
    Figure,
    Sample,
    by_label,
    counter,
    gauge,
    validate_figure,
)
from pluggd.model.record import replace
from pluggd.plugin import FigureSource

PATIENCE = 1.0
"""Seconds that the figures of one plugin may take."""


def server_figures(statistics: Statistics) -> list[Figure]:
    """What the server counted. Methods that nobody has called have no samples."""
    durations: list[Sample] = []
    errors: list[Sample] = []
    in_flight: list[Sample] = []
    for one in statistics.methods():
        if not one.calls and not one.in_flight:
            continue
        labels = {"method": one.name}
        if one.plugin:
            labels["plugin"] = one.plugin
        durations.append(Sample(labels, one.nanoseconds / 1e9, list(one.counts)))
        in_flight.append(Sample(labels, one.in_flight))
        errors += [
            Sample({**labels, "code": code}, count)
            for code, count in sorted(one.errors.items())
        ]
    return [
        Figure(
            "call_seconds",
            "histogram",
            "Duration of calls, from their turn to their answer.",
            durations,
            list(LATENCY),
        ),
        Figure("call_errors", "counter", "Calls that ended with an error.", errors),
        Figure("calls_in_flight", "gauge", "Calls that are running.", in_flight),
        by_label(
            "errors",
            "counter",
            "Errors told to clients, also those that belong to no call.",
            "code",
            statistics.errors,
        ),
        gauge("connections", "Open connections.", statistics.connections),
        gauge("streams", "Calls that stream.", statistics.streams),
        counter("connections_accepted", "Connections accepted.", statistics.accepted),
        counter(
            "connections_refused",
            "Connections refused, being too many.",
            statistics.refused,
        ),
        counter("received_bytes", "Bytes of messages in.", statistics.bytes_in),
        counter("sent_bytes", "Bytes of messages out.", statistics.bytes_out),
    ]


def plugin_figures(rows: Sequence[Row]) -> list[Figure]:
    """What the status table knows of each plugin."""
    started = [row for row in rows if row.had_turn]
    return [
        Figure(
            "plugin_status",
            "gauge",
            "1 for the status that a plugin is in.",
            [
                Sample({"plugin": row.uri, "status": row.status.value}, 1)
                for row in rows
            ],
        ),
        Figure(
            "plugin_start_seconds",
            "gauge",
            "How long the start of a plugin took.",
            [Sample({"plugin": row.uri}, row.state.took / 1e9) for row in started],
        ),
        Figure(
            "plugin_tasks",
            "gauge",
            "Tasks that a plugin has in the background.",
            [Sample({"plugin": row.uri}, row.tasks) for row in started],
        ),
    ]


def process_figures(started_at: int) -> list[Figure]:
    """Of the process; names as every Prometheus client has them. started_at: ns."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return [
        gauge(
            "build_info",
            "1, with the version.",
            1,
            version=pluggd.__version__,
        ),
        counter(
            "process_cpu_seconds",
            "Time on a processor, of all threads.",
            usage.ru_utime + usage.ru_stime,
        ),
        gauge("process_resident_memory_bytes", "Resident memory.", resident_memory()),
        gauge("process_open_fds", "Open file descriptors.", _descriptors()),
        gauge(
            "process_start_time_seconds",
            "When the daemon started, since the epoch.",
            started_at / 1e9,
        ),
    ]


def resident_memory(pid: int | None = None) -> int:
    """Bytes of this process, or of another one; 0 when that cannot be seen."""
    try:
        with open(f"/proc/{pid or 'self'}/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # it is gone, or this is no Linux
        return 0


def _descriptors() -> int:
    try:
        return len(os.listdir("/dev/fd"))
    except OSError:
        return 0


class Gatherer:
    """Asks the plugins, and remembers what it has complained about."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._complaints: set[tuple[str, str]] = set()
        self._failures: dict[str, float] = {}

    async def gather(
        self, own: Iterable[Figure], rows: Sequence[Row], names: Sequence[str] = ()
    ) -> list[Figure]:
        """All figures in order of their names, or those whose name begins with one of
        `names`; those of plugins get the label `plugin`."""
        merged: dict[str, Figure] = {}
        for figure in own:
            self._add(merged, figure, "")
        for row in rows:
            if row.status is Status.OK and row.figures:
                for figure in await self._of(row):
                    self._add(merged, figure, row.uri)
        if self._failures:
            name, help_ = "figures_failures", "Figures of a plugin that were not had."
            failures = by_label(name, "counter", help_, "plugin", self._failures)
            self._add(merged, failures, "")
        return [
            merged[name]
            for name in sorted(merged)
            if not names or name.startswith(tuple(names))
        ]

    async def _of(self, row: Row) -> list[Figure]:
        found: list[Figure] = []
        for function in list(row.figures):
            with trio.move_on_after(PATIENCE) as scope:
                try:
                    found += await _call(function)
                except Exception as error:  # noqa: BLE001 - of the plugin alone
                    self._complain(row.uri, f"{type(error).__name__}: {error}", error)
            if scope.cancelled_caught:
                self._complain(row.uri, f"not there within {PATIENCE:g} s")
        return found

    def _add(self, merged: dict[str, Figure], figure: Figure, plugin: str) -> None:
        if plugin:
            samples = [
                replace(one, labels={**one.labels, "plugin": plugin})
                for one in figure.samples
            ]
            figure = replace(figure, samples=samples)
        there = merged.get(figure.name)
        if there is None:
            merged[figure.name] = figure
        elif (there.type, there.bounds) == (figure.type, figure.bounds):
            samples = [*there.samples, *figure.samples]
            merged[figure.name] = replace(there, samples=samples)
        else:
            self._complain(
                plugin,
                f"figure {figure.name!r} is a {there.type} elsewhere, with bounds "
                f"{there.bounds}: choose another name",
            )

    def _complain(
        self, plugin: str, reason: str, error: Exception | None = None
    ) -> None:
        """Count it, and say it once: somebody asks every few seconds."""
        self._failures[plugin] = self._failures.get(plugin, 0) + 1
        if (plugin, reason) not in self._complaints and len(self._complaints) < 100:
            self._complaints.add((plugin, reason))
            extra = {"plugin": plugin, "reason": reason}
            self._log.warning("plugin has no figures", extra=extra, exc_info=error)


async def _call(function: FigureSource) -> list[Figure]:
    result: Any = function()
    if inspect.isawaitable(result):
        result = await result
    figures: list[Figure] = list(result)
    for figure in figures:
        if not isinstance(figure, Figure):  # pyright: ignore[reportUnnecessaryIsInstance] - it is somebody's code
            raise InvalidArgument(f"{figure!r} is no Figure")
        validate_figure(figure)
    return figures
