# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a change of a running daemon did, for people: options, plugins, warnings."""

from __future__ import annotations

from collections.abc import Sequence

import click

from pluggd.cli.ctl.app import App, Fields
from pluggd.cli.ctl.output import clean, json_document, out, table

EFFECTS = {
    "live": "in force",
    "restart": "restarts plugins",
    "daemon": "needs a new start of the daemon",
}
BAD = ("failed", "blocked")


def show_change(
    app: App,
    change: Fields,
    *,
    plan: bool = False,
    started: str = "",
    bad: Sequence[str] = BAD,
) -> None:
    """Print a `management.v1` Change; exit code 1 when a plugin is worse off for it.

    started: the URI of one that was to come up, whatever it was before. bad: the
    statuses that are worse; not those that were asked for.
    """
    if app.json:
        json_document(change)
    else:
        _options(change.get("options", []))
        _plugins(change.get("plugins", []), plan)
        for warning in change.get("warnings", []):
            click.echo(f"pluggctl: warning: {clean(warning)}", err=True)
    if any(
        one.get("after") in bad
        and (one.get("before") not in BAD or one.get("uri") == started)
        for one in change.get("plugins", [])
    ):
        raise click.exceptions.Exit(1)


def _options(options: list[Fields]) -> None:
    if options:
        table(
            ("OPTION", "OLD", "NEW", "FROM", "EFFECT"),
            [
                (
                    one.get("key", ""),
                    one.get("old", ""),
                    one.get("new", ""),
                    one.get("origin", ""),
                    EFFECTS.get(one.get("effect", ""), ""),
                )
                for one in options
            ],
        )


def _plugins(plugins: list[Fields], plan: bool) -> None:
    if not plugins:
        return
    if plan:
        table(
            ("PLUGIN", "IS", "WOULD"),
            [
                (one.get("uri", ""), one.get("before", ""), one.get("action", ""))
                for one in plugins
            ],
        )
        return
    for one in plugins:
        reason = one.get("reason", "")
        # What is gone has no status afterwards.
        parts = (one.get("uri", ""), one.get("action", ""), one.get("after", ""))
        text = ": ".join(part for part in parts if part)
        out(clean(text + (f" ({reason})" if reason else "")))
