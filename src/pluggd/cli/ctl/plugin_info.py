# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""`pluggctl plugins info`: everything about one plugin, on one page."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pluggd.cli.ctl.app import App, Fields
from pluggd.cli.ctl.graph import coloured, edges_of
from pluggd.cli.ctl.hints import way_out
from pluggd.cli.ctl.output import (
    clean,
    json_document,
    labels,
    out,
    short_duration,
    size,
    table,
    to_json,
    when,
)
from pluggd.errors import NotFound


def show_info(app: App, uri: str) -> None:
    """Raises NotFound with the nearest URI."""
    found: list[Fields] = app.call("introspection.v1.plugins").get("plugins", [])
    item = next((one for one in found if one["uri"] == uri), None)
    if item is None:
        raise NotFound(f'plugin "{uri}": not found{_meant(uri, found)}')
    config: list[Fields]
    try:
        config = app.call("introspection.v1.config", {"uri": uri}).get("values", [])
    except NotFound:
        config = []  # one that could not be loaded: its options are not known
    memory = _memory(app, uri) if item.get("origin", "").startswith("proxy:") else 0
    edges = edges_of(found)
    uses = [(how, used) for user, used, how in edges if user == uri]
    users = [(how, user) for user, used, how in edges if used == uri]
    if app.json:
        json_document(
            {
                **item,
                "config": config,
                **({"memory": memory} if memory else {}),
                "required_by": [user for how, user in users if how == "requires"],
                "wanted_by": [user for how, user in users if how == "wants"],
                "decorated_by": [user for how, user in users if how == "decorates"],
            }
        )
        return
    states = {one["uri"]: one.get("status", "") for one in found}
    _facts(item)
    _line("Memory", size(memory) if memory else "")
    for cause in item.get("causes", []):
        reason = f", {cause['reason']}" if cause.get("reason") else ""
        _line("Because", f"{cause.get('uri', '')}: {cause.get('status', '')}{reason}")
    _neighbours("Uses", uses, states)
    _neighbours("Used by", users, states)
    if config:
        out("")
        table(
            ("OPTION", "VALUE", "ORIGIN"),
            [(one["key"], _value(one), one.get("origin", "")) for one in config],
        )


def _memory(app: App, uri: str) -> int:
    """Bytes of the process of a plugin that has its own; those that run in the daemon
    share its memory, and nobody can say whose is what."""
    stats = app.call("introspection.v1.stats", {"names": ["proxy_memory_bytes"]})
    for figure in stats.get("figures", []):
        for sample in figure.get("samples", []):
            if sample.get("labels", {}).get("plugin") == uri:
                return int(sample.get("value", 0))
    return 0


def _facts(item: Fields) -> None:
    status = item.get("status", "")
    _line("URI", item["uri"])
    _line("Description", item.get("description", ""))
    _line("Status", status, status)
    _line("Reason", item.get("reason", ""))
    _line("Error", item.get("code", ""))
    _line("Way out", way_out(item))
    _line("Since", when(item.get("since", 0)))
    _line("Start took", short_duration(item["took"]) if item.get("took") else "")
    _line("Provides", item.get("kind", ""))
    _line("Tasks", str(item.get("tasks", 0)))
    calls, errors = item.get("calls", 0), item.get("errors", 0)
    _line("Calls", f"{calls}, {errors} with an error" if errors else str(calls))
    _line("Capabilities", ", ".join(item.get("capabilities", [])))
    _line("Exports", labels(item.get("exports")))
    _line("Loaded from", item.get("origin", ""))


def _line(title: str, text: str, status: str = "") -> None:
    if text and text != "-":
        out(f"{title + ':':<13} {coloured(clean(text), status)}")


def _neighbours(
    title: str, edges: Sequence[tuple[str, str]], states: dict[str, str]
) -> None:
    for number, (how, uri) in enumerate(edges):
        state = states.get(uri, "missing")
        text = uri + {"wants": " (wanted)", "decorates": " (decorated)"}.get(how, "")
        text += "" if state == "ok" else f" [{state}]"
        first = f"{title}:" if number == 0 else ""
        out(f"{first:<13} {coloured(clean(text), '' if state == 'ok' else state)}")


def _value(one: Fields) -> str:
    if one.get("hidden"):
        return "(hidden)"
    return json.dumps(to_json(one.get("value")), ensure_ascii=False)


def _meant(uri: str, found: Sequence[Fields]) -> str:
    import difflib

    near = difflib.get_close_matches(uri, [one["uri"] for one in found], 1)
    near = near or [one["uri"] for one in found if uri and uri in one["uri"]][:1]
    return f', did you mean "{near[0]}"?' if near else ""
