# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""`pluggctl gc`: collect, and ask why something is still there."""

from __future__ import annotations

import click

from pluggd.cli.ctl.app import App, Fields, Group, pass_app
from pluggd.cli.ctl.args import DIGESTS
from pluggd.cli.ctl.output import (
    clean,
    json_document,
    note,
    out,
    short_duration,
    size,
    table,
    when,
)
from pluggd.client.plain import map_in


@click.group(cls=Group)
def gc() -> None:
    """Collection of what nothing refers to."""


@gc.command()
@click.option("--wait", is_flag=True, help="Until it is done; shows what it did.")
@click.option("--full", is_flag=True, help="Mark everything, as a check of the index.")
@pass_app
def run(app: App, wait: bool, full: bool) -> None:
    """Ask for a collection."""
    stats = app.call("gc.v1.run", {"wait": wait, "full": full}).get("stats")
    if app.json:
        json_document(stats)
    elif stats:
        _show_stats(stats)
    elif wait:
        out("removed nothing")


@gc.command()
@pass_app
def status(app: App) -> None:
    """Show what the policy knows and will do next."""
    found = app.call("gc.v1.status").get("status", {})
    if app.json:
        json_document(found)
        return
    for title, value in (
        ("Policy", found.get("policy", "")),
        ("Running", "yes" if found.get("running") else "no"),
        ("Collections", found.get("collections", 0)),
        ("Failures", found.get("failures", 0)),
        ("Last", when(found.get("last_at", 0))),
        ("Next", when(found.get("next_at", 0))),
        ("Reason", found.get("reason", "")),
        ("Deletions", found.get("deletions", 0)),
        ("Mutations", found.get("mutations", 0)),
        ("Mean pause", short_duration(found.get("mean_pause", 0))),
        ("Last error", found.get("last_error", "")),
    ):
        if value != "":
            out(f"{title + ':':<12} {clean(value)}")
    if found.get("last"):
        out("Last collection:")
        _show_stats(found["last"], "  ")


@gc.command()
@pass_app
def plan(app: App) -> None:
    """Show what a collection would remove now."""
    found = app.call("gc.v1.plan").get("objects", [])
    if app.json:
        json_document(found)
    else:
        table(("TYPE", "NAMESPACE", "NAME"), [_row(item) for item in found])


@gc.command()
@click.option("--type", "type_", default="content", show_default=True)
@click.argument("name", metavar="DIGEST", shell_complete=DIGESTS)
@pass_app
def explain(app: App, type_: str, name: str) -> None:
    """Show the path from a root to an object, or that there is none.

    With --type the argument is the name of an image, a lease, a snapshot, ...
    Exits with 4 when there is no such object.
    """
    answer = app.call("gc.v1.explain", {"name": name, "type": type_})
    if app.json:
        json_document(answer)
    elif not answer.get("exists"):
        out(f"{type_} {clean(name)} does not exist in namespace {app.namespace}")
        if type_ == "content" and not name.startswith("sha"):
            note(
                "  The name of content is its digest; of what else it is, "
                "--type says: image, container, lease, ..."
            )
    elif not answer.get("path"):
        out("nothing keeps it: the next collection removes it")
    else:
        for depth, step in enumerate(answer["path"]):
            lead = "" if depth == 0 else "   " * (depth - 1) + "└─ "
            kind, namespace, label = _row(step)
            out(
                f"{lead}{clean(kind)} {clean(label)} "
                f"(namespace {clean(namespace)}, {clean(step.get('how', ''))})"
            )
    if not answer.get("exists"):
        raise click.exceptions.Exit(4)


def _row(item: Fields) -> tuple[str, str, str]:
    return item.get("type", ""), item.get("namespace", ""), item.get("name", "")


def _show_stats(stats: Fields, lead: str = "") -> None:
    removed = map_in(stats, "removed")
    text = ", ".join(f"{count} {type_}" for type_, count in sorted(removed.items()))
    out(
        f"{lead}removed {clean(text) if text else 'nothing'}; "
        f"{size(stats.get('freed_bytes', 0))} freed in "
        f"{short_duration(stats.get('elapsed', 0))} "
        f"({'all objects marked' if stats.get('full') else 'by index'}, "
        f"{stats.get('examined', 0)} examined, "
        f"writers waited {short_duration(stats.get('pause', 0))} at most)"
    )
    for type_, why in sorted(map_in(stats, "left").items()):
        out(f"{lead}bytes of {clean(type_)} are left, and go later: {clean(why)}")
    for item in stats.get("objects", []):
        kind, namespace, name = _row(item)
        out(f"{lead}  {clean(kind)} {clean(name)} ({clean(namespace)})")
