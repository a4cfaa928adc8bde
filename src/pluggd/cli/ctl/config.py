# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""`pluggctl config`: the configuration of the daemon that runs."""

from __future__ import annotations

import click

from pluggd.cli.ctl.app import App, Group, pass_app
from pluggd.cli.ctl.changes import show_change
from pluggd.cli.ctl.output import out


@click.group(cls=Group)
def config() -> None:
    """The configuration that is in force. `pluggd config` looks at files."""


@config.command()
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@pass_app
def reload(app: App, dry_run: bool) -> None:
    """Read the configuration file again and apply what differs.

    A file with a mistake changes nothing; every mistake is printed with its line.
    """
    change = app.call("management.v1.reload", {"dry_run": dry_run})
    if not app.json and not any(change.get(key) for key in ("options", "plugins")):
        out("nothing to change" if dry_run else "nothing changed")
    show_change(app, change, plan=dry_run)
