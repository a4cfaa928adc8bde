# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""`pluggctl plugins`: the status table, and the graph behind it."""

from __future__ import annotations

from typing import Any

import click

from pluggd.cli.ctl.app import App, Fields, Group, pass_app
from pluggd.cli.ctl.args import PLUGINS
from pluggd.cli.ctl.changes import show_change
from pluggd.cli.ctl.output import (
    clean,
    json_document,
    labels,
    out,
    short_duration,
    table,
    when,
)

COLOURS = {
    "ok": "palegreen",
    "skipped": "lightgrey",
    "disabled": "lightgrey",
    "blocked": "orange",
    "failed": "tomato",
    "starting": "lightyellow",
    "stopping": "lightyellow",
}


@click.group(cls=Group)
def plugins() -> None:
    """Plugins: what is there, whether it works, and why not."""


@plugins.command()
@click.option("-d", "--detailed", is_flag=True, help="All that is known of each.")
@click.option("-q", "--quiet", is_flag=True, help="Only the URIs.")
@click.argument("filters", nargs=-1, metavar="[FILTER]...", shell_complete=PLUGINS)
@pass_app
def ls(app: App, detailed: bool, quiet: bool, filters: tuple[str, ...]) -> None:
    """List plugins in order of start.

    A FILTER is as everywhere (`status==failed`, `id~=^s`); a bare word is taken
    for a URI.
    """
    asked = [text if _is_filter(text) else f'uri=="{text}"' for text in filters]
    found = _plugins(app, asked)
    if app.json:
        json_document(found)
    elif quiet:
        for item in found:
            out(clean(item["uri"]))
    elif detailed:
        for number, item in enumerate(found):
            if number:
                out("")
            _show(item)
    else:
        table(
            ("KIND", "ID", "PLATFORMS", "STATUS", "REASON"),
            [
                (
                    item.get("kind", ""),
                    item.get("id", ""),
                    _platforms(item),
                    item.get("status", ""),
                    _reason(item),
                )
                for item in found
            ],
        )


@plugins.command()
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "dot", "mermaid"]),
    default="text",
    show_default=True,
)
@pass_app
def graph(app: App, form: str) -> None:
    """Show who needs whom; a dashed line is a wish, a red one a failure."""
    found = _plugins(app, [])
    edges = list(_edges(found))
    if app.json:
        json_document(
            {
                "nodes": [
                    {key: item.get(key, "") for key in ("uri", "status", "reason")}
                    for item in found
                ],
                "edges": [
                    {"from": user, "to": used, "kind": how} for user, used, how in edges
                ],
            }
        )
    elif form == "dot":
        _dot(found, edges)
    elif form == "mermaid":
        _mermaid(found, edges)
    else:
        _text(found, edges)


@plugins.command()
@click.argument("uri", shell_complete=PLUGINS)
@pass_app
def restart(app: App, uri: str) -> None:
    """Stop a plugin and what needs it, and start them again.

    Also for one that failed: its next start may do better.
    """
    show_change(app, app.call("management.v1.restart", {"uri": uri}))


@plugins.command()
@click.argument("uri", shell_complete=PLUGINS)
@pass_app
def disable(app: App, uri: str) -> None:
    """Stop a plugin until it is enabled, or the daemon is started anew.

    To keep it off, put it into `disabled_plugins` of the configuration.
    """
    show_change(app, app.call("management.v1.disable", {"uri": uri}))


@plugins.command()
@click.argument("uri", shell_complete=PLUGINS)
@pass_app
def enable(app: App, uri: str) -> None:
    """Start a plugin that is disabled."""
    show_change(app, app.call("management.v1.enable", {"uri": uri}))


def _is_filter(text: str) -> bool:
    return any(char in text for char in "=~!,") or text == "capabilities"


def _plugins(app: App, filters: list[str]) -> list[Fields]:
    answer = app.call("introspection.v1.plugins", {"filters": filters})
    found: list[Fields] = answer.get("plugins", [])
    return found


def _reason(item: Fields) -> str:
    """In a table, a blocked one shows the first cause; that one has its own line."""
    causes: list[Fields] = item.get("causes") or []
    if item.get("status") == "blocked" and causes:
        return f"because {causes[-1].get('uri', '')}: {causes[-1].get('status', '')}"
    return str(item.get("reason", ""))


def _platforms(item: Fields) -> str:
    return ",".join(
        "/".join(
            part
            for part in (
                value.get("os", ""),
                value.get("architecture", ""),
                value.get("variant", ""),
            )
            if part
        )
        for value in item.get("platforms", [])
    )


def _show(item: Fields) -> None:
    lines: list[tuple[str, Any]] = [
        ("URI", item.get("uri", "")),
        ("Description", item.get("description", "")),
        ("Status", item.get("status", "")),
        ("Since", when(item.get("since", 0))),
        ("Start took", short_duration(item["took"]) if item.get("took") else ""),
        ("Reason", item.get("reason", "")),
        ("Error", item.get("code", "")),
        ("Requires", ", ".join(item.get("requires", []))),
        ("Wants", ", ".join(item.get("wants", []))),
        ("Platforms", _platforms(item)),
        ("Capabilities", ", ".join(item.get("capabilities", []))),
        ("Exports", labels(item.get("exports"))),
        ("Origin", item.get("origin", "")),
    ]
    for title, value in lines:
        if value and value != "-":
            out(f"{title + ':':<13} {clean(value)}")
    for cause in item.get("causes", []):
        text = f"{cause.get('uri', '')}: {cause.get('status', '')}"
        if cause.get("reason"):
            text += f", {cause['reason']}"
        out(f"{'Because:':<13} {clean(text)}")


Edge = tuple[str, str, str]


def _edges(found: list[Fields]) -> list[Edge]:
    """(user, used, "requires" or "wants"): a kind stands for all that provide it."""
    providers: dict[str, list[str]] = {}
    for item in found:
        providers.setdefault(item.get("kind", ""), []).append(item["uri"])
        providers[item["uri"]] = [item["uri"]]
    return [
        (item["uri"], used, how)
        for item in found
        for how in ("requires", "wants")
        for wanted in item.get(how, [])
        for used in providers.get(wanted, [wanted])
    ]


def _text(found: list[Fields], edges: list[Edge]) -> None:
    states = {item["uri"]: item.get("status", "") for item in found}
    for item in found:
        reason = item.get("reason", "")
        text = f"{item['uri']} [{item.get('status', '')}]"
        out(clean(text + (f" {reason}" if reason else "")))
        mine = [edge for edge in edges if edge[0] == item["uri"]]
        for number, (_, used, how) in enumerate(mine):
            branch = "└──" if number == len(mine) - 1 else "├──"
            state = states.get(used, "missing")
            shown = "" if state == "ok" else f" [{state}]"
            out(f"{branch} {how} {clean(used)}{shown}")


def _quote(text: str) -> str:
    return '"' + clean(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _dot(found: list[Fields], edges: list[Edge]) -> None:
    out("digraph plugins {")
    out("  rankdir=LR;")
    out("  node [shape=box, style=filled, fontname=sans];")
    states = {item["uri"]: item.get("status", "") for item in found}
    for item in found:
        colour = COLOURS.get(item.get("status", ""), "white")
        tip = item.get("reason", "") or item.get("status", "")
        out(f"  {_quote(item['uri'])} [fillcolor={colour}, tooltip={_quote(tip)}];")
    for user, used, how in edges:
        style = "dashed" if how == "wants" else "solid"
        colour = "black" if states.get(used) == "ok" else "red"
        out(f"  {_quote(user)} -> {_quote(used)} [style={style}, color={colour}];")
    out("}")


def _mermaid(found: list[Fields], edges: list[Edge]) -> None:
    out("graph LR")
    names: dict[str, str] = {}
    for item in found:
        names[item["uri"]] = f"n{len(names)}"
    for _, used, _ in edges:
        names.setdefault(used, f"n{len(names)}")
    for uri, name in names.items():
        out(f'  {name}["{clean(uri).replace(chr(34), "#quot;")}"]')
    for user, used, how in edges:
        arrow = "-.->" if how == "wants" else "-->"
        out(f"  {names[user]} {arrow} {names[used]}")
    for status, colour in COLOURS.items():
        members = [names[item["uri"]] for item in found if item.get("status") == status]
        if members:
            out(f"  classDef {status} fill:{colour}")
            out(f"  class {','.join(members)} {status}")
