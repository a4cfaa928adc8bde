# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""`pluggctl version` and `health`: who is there, and does it work."""

from __future__ import annotations

import platform
import sys

import click

from pluggd import __version__
from pluggd.cli.ctl.app import App, Fields, Leaf, pass_app
from pluggd.cli.ctl.args import SERVICES
from pluggd.cli.ctl.output import clean, duration, json_document, note, out, table


@click.command(cls=Leaf)
@pass_app
def version(app: App) -> None:
    """Show the versions of both ends."""
    client = {"version": __version__, "python": platform.python_version()}
    if not app.json:
        out("Client:")
        out(f"  Version:  {client['version']}")
        out(f"  Python:   {client['python']}")
        sys.stdout.flush()
    server = app.call("introspection.v1.server").get("server", {})
    if app.json:
        json_document({"client": client, "server": server})
        return
    out("Server:")
    for title, key in (
        ("Version", "version"),
        ("Python", "python"),
        ("UUID", "uuid"),
        ("PID", "pid"),
        ("Address", "address"),
        ("Root", "root"),
        ("State", "state"),
    ):
        out(f"  {title + ':':<9} {clean(server.get(key, ''))}")
    out(f"  Uptime:   {duration(server.get('uptime', 0))}")
    if server.get("version") != __version__:
        note("pluggctl: client and server are of different versions")


@click.command(cls=Leaf)
@click.argument("service", default="", shell_complete=SERVICES)
@pass_app
def health(app: App, service: str) -> None:
    """Say whether all services serve, or one SERVICE (images.v1).

    Exits with 0 when they do, 1 when one does not, 3 when nobody answers. Services
    whose plugins are skipped or disabled count only when they are asked for.
    """
    answer = app.call("introspection.v1.health", {"service": service})
    if app.json:
        json_document(answer)
    else:
        out(clean(answer.get("status", "")))
        rows = [
            (item.get("service", ""), item.get("status", ""), _why(item))
            for item in answer.get("services", [])
        ]
        if rows:
            table(("SERVICE", "STATUS", "REASON"), rows)
    if answer.get("status") != "serving":
        raise click.exceptions.Exit(1)


def _why(item: Fields) -> str:
    """The reason, which is what a caller of the service is told, without what its
    line says already."""
    beginning = f"service {item.get('service', '')} is not available, "
    reason = str(item.get("reason", ""))
    if not reason.startswith(beginning):
        return reason
    return reason.removeprefix(beginning).removesuffix(": unavailable")
