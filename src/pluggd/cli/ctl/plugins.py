# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""`pluggctl plugins`: the status table, and the graph behind it."""

from __future__ import annotations

from typing import Any

import click

from pluggd.cli.ctl.app import App, Fields, Group, pass_app
from pluggd.cli.ctl.args import PLUGINS
from pluggd.cli.ctl.changes import show_change
from pluggd.cli.ctl.graph import draw_dot, draw_mermaid, draw_text, edges_of
from pluggd.cli.ctl.hints import way_out
from pluggd.cli.ctl.output import (
    clean,
    json_document,
    labels,
    out,
    short_duration,
    table,
    when,
)


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
                    # A module that could not say what it holds has but its name.
                    item.get("kind") or item.get("uri", ""),
                    item.get("id", ""),
                    _platforms(item),
                    item.get("status", ""),
                    _reason(item),
                )
                for item in found
            ],
        )


@plugins.command()
@click.argument("uri", shell_complete=PLUGINS)
@pass_app
def info(app: App, uri: str) -> None:
    """Show one plugin: status, options with their origin, who needs it, what it does."""
    from pluggd.cli.ctl.plugin_info import show_info

    show_info(app, uri)


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
    edges = edges_of(found)
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
        draw_dot(found, edges)
    elif form == "mermaid":
        draw_mermaid(found, edges)
    else:
        draw_text(found, edges)


@plugins.command()
@click.argument("uri", shell_complete=PLUGINS)
@pass_app
def restart(app: App, uri: str) -> None:
    """Stop a plugin and what needs it, and start them again.

    Also for one that failed: its next start may do better.
    """
    change = app.call("management.v1.restart", {"uri": uri})
    show_change(app, change, started=uri)


@plugins.command()
@click.argument("uri", shell_complete=PLUGINS)
@pass_app
def disable(app: App, uri: str) -> None:
    """Stop a plugin until it is enabled, or the daemon is started anew.

    Who needs it goes on with another provider or is blocked, as asked for. To keep it
    off, put it into `disabled_plugins` of the configuration.
    """
    change = app.call("management.v1.disable", {"uri": uri})
    show_change(app, change, bad=("failed",))


@plugins.command()
@click.argument("uri", shell_complete=PLUGINS)
@pass_app
def enable(app: App, uri: str) -> None:
    """Start a plugin that is disabled."""
    change = app.call("management.v1.enable", {"uri": uri})
    show_change(app, change, started=uri)


def _is_filter(text: str) -> bool:
    return any(char in text for char in "=~!,") or text == "capabilities"


def _plugins(app: App, filters: list[str]) -> list[Fields]:
    answer = app.call("introspection.v1.plugins", {"filters": filters})
    found: list[Fields] = answer.get("plugins", [])
    return found


def _reason(item: Fields) -> str:
    """In a table, a blocked one shows the first cause; that one has its own line, unless
    it is not there."""
    causes: list[Fields] = item.get("causes") or []
    if (
        item.get("status") == "blocked"
        and causes
        and causes[-1].get("status") != "missing"
    ):
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
        ("Way out", way_out(item)),
        ("Requires", ", ".join(item.get("requires", []))),
        ("Wants", ", ".join(item.get("wants", []))),
        ("Decorates", item.get("decorates", "")),
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
