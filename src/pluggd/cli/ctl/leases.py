# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""`pluggctl leases`."""

from __future__ import annotations

import click

from pluggd.cli.ctl.app import App, Fields, Group, pass_app
from pluggd.cli.ctl.args import DURATION, LEASES, pairs
from pluggd.cli.ctl.output import clean, json_document, labels, out, table, when
from pluggd.cli.ctl.removal import MISSING_OK, remove_each

FLAT = "containerd.io/gc.flat"


@click.group(cls=Group)
def leases() -> None:
    """Leases: what they hold is not collected."""


@leases.command()
@click.option("--id", "id_", default="", help="Its id; without, one is made up.")
@click.option(
    "-x",
    "--expires",
    type=DURATION,
    default="24h",
    show_default=True,
    help="From now; 0 for never.",
)
@click.option(
    "--flat", is_flag=True, help="Hold what is named, not what that refers to."
)
@click.argument("label", nargs=-1, metavar="[KEY=VALUE]...")
@pass_app
def create(
    app: App, id_: str, expires: float, flat: bool, label: tuple[str, ...]
) -> None:
    """Create a lease and print its id."""
    wanted = pairs(label)
    if flat:
        wanted[FLAT] = "true"
    answer = app.call(
        "leases.v1.create", {"id": id_, "labels": wanted, "expires_in": expires}
    )
    lease = answer.get("lease", {})
    if app.json:
        json_document(lease)
    else:
        out(clean(lease.get("id", "")))


@leases.command()
@click.option("-q", "--quiet", is_flag=True, help="Only the ids.")
@click.argument("filters", nargs=-1, metavar="[FILTER]...")
@pass_app
def ls(app: App, quiet: bool, filters: tuple[str, ...]) -> None:
    """List leases."""
    found = app.each("leases.v1.list", "leases", filters)
    if app.json:
        json_document(list(found))
    elif quiet:
        for item in found:
            out(clean(item["id"]))
    else:
        table(
            ("ID", "CREATED AT", "LABELS"),
            [
                (
                    item["id"],
                    when(item.get("created_at", 0)),
                    labels(item.get("labels")),
                )
                for item in found
            ],
        )


@leases.command()
@click.option("--sync", is_flag=True, help="Return after a whole collection.")
@click.argument("ids", nargs=-1, required=True, metavar="ID...", shell_complete=LEASES)
@MISSING_OK
@pass_app
def rm(app: App, sync: bool, ids: tuple[str, ...], missing_ok: bool) -> None:
    """Remove leases and let go of what they hold."""
    remove_each(
        app,
        ids,
        "leases.v1.delete",
        "id",
        missing_ok=missing_ok,
        sync=sync,
    )


@leases.command()
@click.argument("id_", metavar="ID", shell_complete=LEASES)
@click.argument("action", required=False, type=click.Choice(["add", "rm"]))
@click.argument("type_", required=False, metavar="[TYPE")
@click.argument("name", required=False, metavar="NAME]")
@pass_app
def resources(
    app: App, id_: str, action: str | None, type_: str | None, name: str | None
) -> None:
    """List what a lease holds, or add or remove one thing.

    TYPE is content, ingests, images or snapshots/NAME.
    """
    if action is None:
        answer = app.call("leases.v1.list_resources", {"id": id_})
        found = answer.get("resources", [])
        if app.json:
            json_document(found)
        else:
            table(("TYPE", "ID"), [(item["type"], item["id"]) for item in found])
        return
    if type_ is None or name is None:
        raise click.UsageError(f"{action} needs a TYPE and a NAME")
    method = "add_resource" if action == "add" else "delete_resource"
    resource: Fields = {"type": type_, "id": name}
    app.call(f"leases.v1.{method}", {"id": id_, "resource": resource})
