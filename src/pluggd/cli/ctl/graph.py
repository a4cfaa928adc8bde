# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The graph of plugins, drawn as text, for Graphviz and for Mermaid."""

from __future__ import annotations

import os
import sys

from pluggd.cli.ctl.app import Fields
from pluggd.cli.ctl.output import clean, out

COLOURS = {
    "ok": "palegreen",
    "skipped": "lightgrey",
    "disabled": "lightgrey",
    "blocked": "orange",
    "failed": "tomato",
    "starting": "lightyellow",
    "stopping": "lightyellow",
}

ANSI = {
    "ok": "32",
    "failed": "31",
    "blocked": "33",
    "starting": "36",
    "stopping": "36",
    "skipped": "2",
    "disabled": "2",
    "stopped": "2",
}
"""Of a terminal: green, red, yellow, cyan, faint."""


def coloured(text: str, status: str) -> str:
    """The text in the colour of a status, where somebody sees it."""
    code = ANSI.get(status)
    if code is None or not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{code}m{text}\x1b[0m"


Edge = tuple[str, str, str]


def edges_of(found: list[Fields]) -> list[Edge]:
    """(user, used, "requires", "wants" or "decorates"): a kind stands for all that
    provide it, and for those that are disabled only when there are no others."""
    providers: dict[str, list[str]] = {}
    for item in sorted(found, key=lambda item: item.get("status") == "disabled"):
        of_kind = providers.setdefault(item.get("kind", ""), [])
        if item.get("status") != "disabled" or not of_kind:
            of_kind.append(item["uri"])
        providers[item["uri"]] = [item["uri"]]
    return [
        (item["uri"], used, how)
        for item in found
        for how in ("requires", "wants")
        for wanted in item.get(how, [])
        for used in providers.get(wanted, [wanted])
    ] + [
        (item["uri"], item["decorates"], "decorates")
        for item in found
        if item.get("decorates")
    ]


def draw_text(found: list[Fields], edges: list[Edge]) -> None:
    states = {item["uri"]: item.get("status", "") for item in found}
    for item in found:
        reason = item.get("reason", "")
        text = f"{item['uri']} [{item.get('status', '')}]"
        text = clean(text + (f" {reason}" if reason else ""))
        out(coloured(text, item.get("status", "")))
        mine = [edge for edge in edges if edge[0] == item["uri"]]
        for number, (_, used, how) in enumerate(mine):
            branch = "└──" if number == len(mine) - 1 else "├──"
            state = states.get(used, "missing")
            shown = "" if state == "ok" else f" [{state}]"
            out(f"{branch} {how} {coloured(clean(used) + shown, state)}")


def _quote(text: str) -> str:
    return '"' + clean(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def draw_dot(found: list[Fields], edges: list[Edge]) -> None:
    out("digraph plugins {")
    out("  rankdir=LR;")
    out("  node [shape=box, style=filled, fontname=sans];")
    states = {item["uri"]: item.get("status", "") for item in found}
    for item in found:
        colour = COLOURS.get(item.get("status", ""), "white")
        tip = item.get("reason", "") or item.get("status", "")
        out(f"  {_quote(item['uri'])} [fillcolor={colour}, tooltip={_quote(tip)}];")
    for user, used, how in edges:
        style = {"wants": "dashed", "decorates": "bold"}.get(how, "solid")
        colour = "black" if states.get(used) == "ok" else "red"
        out(f"  {_quote(user)} -> {_quote(used)} [style={style}, color={colour}];")
    out("}")


def draw_mermaid(found: list[Fields], edges: list[Edge]) -> None:
    out("graph LR")
    names: dict[str, str] = {}
    for item in found:
        names[item["uri"]] = f"n{len(names)}"
    for _, used, _ in edges:
        names.setdefault(used, f"n{len(names)}")
    for uri, name in names.items():
        out(f'  {name}["{clean(uri).replace(chr(34), "#quot;")}"]')
    for user, used, how in edges:
        arrow = {"wants": "-.->", "decorates": "==>"}.get(how, "-->")
        out(f"  {names[user]} {arrow} {names[used]}")
    for status, colour in COLOURS.items():
        members = [names[item["uri"]] for item in found if item.get("status") == status]
        if members:
            out(f"  classDef {status} fill:{colour}")
            out(f"  class {','.join(members)} {status}")
