# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""`pluggctl stats`: where time goes, what is in flight, what is stored.

The figures of the daemon and those of any plugin come in one form (`Stats` in
docs/rpc.md). Calls get a table of their own; of the others each is a line. With
`--watch` what was counted since the last look stands beside what is.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import click

from pluggd.cli.ctl.app import App, Fields, Leaf, pass_app
from pluggd.cli.ctl.output import json_document, json_line, out, size, table
from pluggd.model.quantiles import quantile

CALLS = ("call_seconds", "call_errors", "calls_in_flight")
OWN_TABLE = (*CALLS, "plugin_start_seconds", "plugin_status", "plugin_tasks")
"""Figures that the tables of calls and of plugins show."""

Key = tuple[str, tuple[tuple[str, str], ...]]


@click.command(cls=Leaf)
@click.option(
    "-w",
    "--watch",
    type=click.FloatRange(min=0.1),
    metavar="SECONDS",
    help="Look again so often, until interrupted, and show rates.",
)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@pass_app
def stats(app: App, watch: float | None, names: tuple[str, ...]) -> None:
    """Show figures: calls and their durations, the loop, plugins, storage.

    With NAMEs only figures that begin so: `call`, `gc`, `metadata_records`. What a call
    took is read from a histogram: the bound that half of the calls (P50), or all but
    one in a hundred (P99), did not exceed.
    """
    arguments = {"names": [*names]}
    answer = app.call("introspection.v1.stats", arguments)
    if watch is None:
        json_document(answer) if app.json else _show(answer, None)
        return
    before: Fields | None = None
    while True:
        if app.json:
            json_line(answer)
        else:
            if sys.stdout.isatty():
                sys.stdout.write("\x1b[H\x1b[2J")
            elif before is not None:
                out("")
            _show(answer, before)
            sys.stdout.flush()
        before = answer
        time.sleep(watch)
        answer = app.call("introspection.v1.stats", arguments)


def _show(answer: Fields, before: Fields | None) -> None:
    figures = _by_name(answer)
    old = _by_name(before) if before is not None else {}
    seconds = 0.0
    if before is not None:
        seconds = (answer.get("taken_at", 0) - before.get("taken_at", 0)) / 1e9
    shown = False
    for section in (
        _calls(figures, old, seconds),
        _plugins(figures),
        _rest(figures, old, seconds),
    ):
        if section is not None:
            if shown:
                out("")
            table(*section)
            shown = True
    if not shown:
        out("no figure has such a name")


Section = tuple[Sequence[str], list[Sequence[object]]]


def _calls(
    figures: Mapping[str, Fields], old: Mapping[str, Fields], seconds: float
) -> Section | None:
    found = figures.get("call_seconds")
    if found is None or not found.get("samples"):
        return None
    bounds: list[float] = found["bounds"]
    earlier = _samples(old.get("call_seconds", {}))
    flying = _samples(figures.get("calls_in_flight", {}))
    errors: dict[str, list[str]] = {}
    for sample in figures.get("call_errors", {}).get("samples", []):
        labels = sample["labels"]
        errors.setdefault(labels["method"], []).append(
            f"{labels['code']}={_number(sample.get('value', 0))}"
        )
    rows: list[tuple[int, Sequence[object]]] = []
    for key, sample in _samples(found).items():
        counts: list[int] = sample["counts"]
        calls, total = sum(counts), sample.get("value", 0)
        rate = ""
        if seconds:
            was: list[int] = earlier.get(key, {}).get("counts", [0] * len(counts))
            new = [now - then for now, then in zip(counts, was, strict=True)]
            rate = f"{sum(new) / seconds:.1f}"
        method = sample["labels"]["method"]
        rows.append(
            (
                calls,
                (
                    method,
                    calls,
                    *([rate] if seconds else []),
                    _number(flying.get(key, {}).get("value", 0)),
                    _time(total / calls if calls else 0),
                    _bound(bounds, counts, 0.5),
                    _bound(bounds, counts, 0.99),
                    " ".join(errors.get(method, [])),
                ),
            )
        )
    rows.sort(key=lambda row: -row[0])
    header = ("METHOD", "CALLS", *(["PER S"] if seconds else []), "NOW")
    return (*header, "MEAN", "P50", "P99", "ERRORS"), [row for _, row in rows]


def _plugins(figures: Mapping[str, Fields]) -> Section | None:
    found = figures.get("plugin_status")
    if found is None:
        return None
    calls: dict[str, int] = {}
    for sample in figures.get("call_seconds", {}).get("samples", []):
        uri = sample["labels"].get("plugin", "")
        calls[uri] = calls.get(uri, 0) + sum(sample["counts"])
    errors: dict[str, float] = {}
    for sample in figures.get("call_errors", {}).get("samples", []):
        uri = sample["labels"].get("plugin", "")
        errors[uri] = errors.get(uri, 0) + sample.get("value", 0)
    starts = _of_plugin(figures.get("plugin_start_seconds"))
    tasks = _of_plugin(figures.get("plugin_tasks"))
    rows: list[Sequence[object]] = []
    for sample in found.get("samples", []):
        uri = sample["labels"]["plugin"]
        rows.append(
            (
                uri,
                sample["labels"]["status"],
                _time(starts[uri]) if uri in starts else "",
                _number(tasks.get(uri, 0)),
                calls.get(uri, 0),
                _number(errors.get(uri, 0)),
            )
        )
    return ("PLUGIN", "STATUS", "START", "TASKS", "CALLS", "ERRORS"), rows


def _rest(
    figures: Mapping[str, Fields], old: Mapping[str, Fields], seconds: float
) -> Section | None:
    rows: list[Sequence[object]] = []
    for name, figure in figures.items():
        if name in OWN_TABLE:
            continue
        earlier = _samples(old.get(name, {}))
        for key, sample in _samples(figure).items():
            value = sample.get("value", 0)
            rate = ""
            if seconds and figure.get("type") == "counter" and key in earlier:
                new = value - earlier[key].get("value", 0)
                rate = _shown(name, new / seconds) + "/s" if new else ""
            row = [_title(name, sample), _value(name, figure, sample)]
            rows.append([*row, rate] if seconds else row)
    if not rows:
        return None
    return ("FIGURE", "VALUE", *(["PER S"] if seconds else [])), rows


def _by_name(answer: Fields) -> dict[str, Fields]:
    return {figure["name"]: figure for figure in answer.get("figures", [])}


def _samples(figure: Mapping[str, Any]) -> dict[Key, Fields]:
    """The samples by name and labels, defaults filled in."""
    return {
        (figure["name"], tuple(sorted(one.get("labels", {}).items()))): {
            "labels": {},
            "counts": [],
            **one,
        }
        for one in figure.get("samples", [])
    }


def _of_plugin(figure: Fields | None) -> dict[str, float]:
    return {
        sample["labels"]["plugin"]: sample.get("value", 0)
        for sample in (figure or {}).get("samples", [])
    }


def _title(name: str, sample: Fields) -> str:
    """The plugin is left out where the name begins as its kind does."""
    labels = dict(sample["labels"])
    plugin = labels.get("plugin", "")
    if plugin.startswith("pluggd."):
        del labels["plugin"]
    pairs = ",".join(f"{key}={labels[key]}" for key in sorted(labels))
    return f"{name}{{{pairs}}}" if pairs else name


def _value(name: str, figure: Fields, sample: Fields) -> str:
    value = sample.get("value", 0)
    if figure.get("type") != "histogram":
        return _shown(name, value)
    counts: list[int] = sample["counts"]
    calls = sum(counts)
    if not calls:
        return "none"
    bounds: list[float] = figure["bounds"]
    shares = (("p50", 0.5), ("p99", 0.99), ("all", 1.0))
    parts = [f"{text} {_limit(name, bounds, counts, share)}" for text, share in shares]
    return f"{calls} times, mean {_shown(name, value / calls)}, {', '.join(parts)}"


def _limit(
    name: str, bounds: Sequence[float], counts: Sequence[int], share: float
) -> str:
    above, bound = quantile(bounds, counts, share)
    return ("> " if above else "<= ") + _shown(name, bound)


def _bound(bounds: Sequence[float], counts: Sequence[int], share: float) -> str:
    if not sum(counts):
        return ""
    above, bound = quantile(bounds, counts, share)
    return ("> " if above else "") + _time(bound)


def _shown(name: str, value: float) -> str:
    if name.endswith("_start_time_seconds"):
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(value))
    if name.endswith("seconds"):
        return _time(value)
    if name.endswith("bytes"):
        return size(round(value))
    return _number(value)


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:.3g}"


def _time(seconds: float) -> str:
    """`850 µs`, `12.3 ms`, `4.2 s`, `310 s`: what a person reads."""
    for limit, factor, unit in ((1e-3, 1e6, "µs"), (1, 1e3, "ms")):
        if seconds < limit:
            return f"{seconds * factor:.3g} {unit}" if seconds else "0"
    return f"{seconds:.3g} s" if seconds < 1000 else f"{seconds:.0f} s"
