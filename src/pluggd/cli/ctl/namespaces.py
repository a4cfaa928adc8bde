# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""`pluggctl namespaces`."""

from __future__ import annotations

import click

from pluggd.cli.ctl.app import App, Group, pass_app
from pluggd.cli.ctl.args import NAMESPACES, pairs
from pluggd.cli.ctl.output import clean, json_document, labels, out, table
from pluggd.cli.ctl.removal import MISSING_OK, remove_each


@click.group(cls=Group)
def namespaces() -> None:
    """Namespaces: a name for everything that belongs together."""


@namespaces.command()
@click.argument("name")
@click.argument("label", nargs=-1, metavar="[KEY=VALUE]...")
@pass_app
def create(app: App, name: str, label: tuple[str, ...]) -> None:
    """Create a namespace."""
    made = app.call(
        "namespaces.v1.create", {"namespace": {"name": name, "labels": pairs(label)}}
    )
    if app.json:
        json_document(made.get("namespace", {}))


@namespaces.command()
@click.option("-q", "--quiet", is_flag=True, help="Only the names.")
@click.argument("filters", nargs=-1, metavar="[FILTER]...")
@pass_app
def ls(app: App, quiet: bool, filters: tuple[str, ...]) -> None:
    """List namespaces."""
    found = app.each("namespaces.v1.list", "namespaces", filters)
    if app.json:
        json_document(list(found))
    elif quiet:
        for item in found:
            out(clean(item["name"]))
    else:
        table(
            ("NAME", "LABELS"),
            [(item["name"], labels(item.get("labels"))) for item in found],
        )


@namespaces.command()
@click.argument("name", shell_complete=NAMESPACES)
@click.argument("label", nargs=-1, required=True, metavar="KEY=VALUE...")
@pass_app
def label(app: App, name: str, label: tuple[str, ...]) -> None:
    """Set labels; KEY= removes one."""
    changed = pairs(label)
    answer = app.call(
        "namespaces.v1.update",
        {
            "namespace": {"name": name, "labels": changed},
            "fields": [f"labels.{key}" for key in changed],
        },
    )
    result = answer.get("namespace", {})
    if app.json:
        json_document(result)
    else:
        out(clean(labels(result.get("labels"))))


@namespaces.command()
@click.argument(
    "names", nargs=-1, required=True, metavar="NAME...", shell_complete=NAMESPACES
)
@MISSING_OK
@pass_app
def rm(app: App, names: tuple[str, ...], missing_ok: bool) -> None:
    """Remove empty namespaces."""
    remove_each(
        app,
        names,
        "namespaces.v1.delete",
        "name",
        missing_ok=missing_ok,
    )
