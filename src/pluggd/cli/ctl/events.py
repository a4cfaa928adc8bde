# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""`pluggctl events`: the daemon's log of changes, as it was and as it goes on."""

from __future__ import annotations

import json
import sys

import click

from pluggd.cli.ctl.app import App, Fields, Leaf, pass_app
from pluggd.cli.ctl.output import clean, exactly_when, json_line, out, to_json
from pluggd.client.plain import map_in


@click.command(cls=Leaf)
@click.option(
    "--since",
    type=click.IntRange(min=0),
    metavar="SEQ",
    help="Begin after this event; 0 for all that the log has. [default: new ones]",
)
@click.option(
    "--follow/--no-follow",
    default=True,
    help="Go on with what comes, or stop at the end of the log. [default: follow]",
)
@click.argument("filters", nargs=-1, metavar="[FILTER]...")
@pass_app
def events(app: App, since: int | None, follow: bool, filters: tuple[str, ...]) -> None:
    """Show events of all namespaces: time, namespace, topic, content.

    Filters are joined by or: `namespace==default`, `topic~=^/images`,
    `event.name==x`. With --json, one object per line, with its `seq` for --since.
    """
    if not follow:
        _past(app, since or 0, list(filters))
        return
    arguments: Fields = {"filters": list(filters)}
    if since is not None:
        arguments["since"] = since
    with app.stream("events.v1.subscribe", arguments) as items:
        for item in items:
            _show(app, item)


def _past(app: App, since: int, filters: list[str]) -> None:
    """What the log has now, by polling to the end that it has at the beginning."""
    last = app.call("events.v1.bounds").get("bounds", {}).get("last", 0)
    while True:  # at least once, for what is wrong with `since` and the filters
        page = app.call("events.v1.poll", {"filters": filters, "since": since})
        if page.get("gap"):
            _show(app, {"gap": page["gap"]})
        for envelope in page.get("events", []):
            _show(app, {"envelope": envelope})
        following = page.get("next", 0)
        if following <= since or following >= last:
            return
        since = following


def _show(app: App, item: Fields) -> None:
    if app.json:
        json_line(item.get("envelope") or {"gap": item.get("gap")})
        return
    gap = item.get("gap")
    if gap:
        out(f"-- events {gap.get('first', 0)} to {gap.get('last', 0)} are gone --")
    envelope = item.get("envelope")
    if envelope:
        value: object = map_in(envelope, "event").get("value")
        text = json.dumps(to_json(value), ensure_ascii=False, sort_keys=True)
        out(
            f"{exactly_when(envelope.get('timestamp', 0))} "
            f"{clean(envelope.get('namespace', ''))} "
            f"{clean(envelope.get('topic', ''))} {clean(text)}"
        )
    sys.stdout.flush()
