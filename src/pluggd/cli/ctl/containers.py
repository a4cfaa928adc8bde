# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""`pluggctl containers`: records of containers; nothing runs."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import IO

import click

from pluggd.cli.ctl.app import App, Fields, Group, pass_app
from pluggd.cli.ctl.args import CONTAINERS, IMAGES, pairs
from pluggd.cli.ctl.output import clean, json_document, labels, out, table
from pluggd.cli.ctl.removal import MISSING_OK, remove_all
from pluggd.client.plain import map_in
from pluggd.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    NotImplemented_,
    Unavailable,
)

SPEC_TYPE = "types.containerd.io/opencontainers/runtime-spec/1/Spec"
MINIMAL_SPEC = {"ociVersion": "1.1.0"}
"""A container must have a specification; without --spec this one stands for it."""


@click.group(cls=Group)
def containers() -> None:
    """Container records: each keeps its snapshot and is a root of collection."""


@containers.command()
@click.argument("id_", metavar="ID")
@click.option(
    "--image", default="", help="The name of its image.", shell_complete=IMAGES
)
@click.option(
    "--runtime",
    default="io.containerd.runc.v2",
    show_default=True,
    help="The runtime that would start it.",
)
@click.option(
    "--spec", type=click.File("rb"), help="An OCI runtime specification (JSON file)."
)
@click.option("--snapshotter", default="")
@click.option("--snapshot-key", default="")
@click.option("--label", multiple=True, metavar="KEY=VALUE")
@pass_app
def create(
    app: App,
    id_: str,
    image: str,
    runtime: str,
    spec: IO[bytes] | None,
    snapshotter: str,
    snapshot_key: str,
    label: tuple[str, ...],
) -> None:
    """Create a container record."""
    container: Fields = {
        "id": id_,
        "image": image,
        "runtime": {"name": runtime},
        "snapshotter": snapshotter,
        "snapshot_key": snapshot_key,
        "labels": pairs(label),
        "spec": {"type_url": SPEC_TYPE, "value": MINIMAL_SPEC},
    }
    if spec is not None:
        try:
            container["spec"]["value"] = json.load(spec)
        except ValueError as error:
            raise click.UsageError(f"--spec: {spec.name} is no JSON: {error}") from None
    made = app.call("containers.v1.create", {"container": container})
    if app.json:
        json_document(made.get("container", {}))


@containers.command()
@click.option("-q", "--quiet", is_flag=True, help="Only the ids.")
@click.argument("filters", nargs=-1, metavar="[FILTER]...")
@pass_app
def ls(app: App, quiet: bool, filters: tuple[str, ...]) -> None:
    """List container records."""
    found = app.each("containers.v1.list", "containers", filters)
    if app.json:
        json_document(list(found))
    elif quiet:
        for item in found:
            out(clean(item["id"]))
    else:
        table(
            ("CONTAINER", "IMAGE", "RUNTIME"),
            [
                (
                    item["id"],
                    item.get("image", ""),
                    map_in(item, "runtime").get("name", ""),
                )
                for item in found
            ],
        )


@containers.command()
@click.argument("id_", metavar="ID", shell_complete=CONTAINERS)
@click.option("--spec", is_flag=True, help="Only the specification.")
@pass_app
def info(app: App, id_: str, spec: bool) -> None:
    """Show a container record (always JSON)."""
    container = map_in(app.call("containers.v1.get", {"id": id_}), "container")
    json_document(map_in(container, "spec").get("value") if spec else container)


@containers.command()
@click.argument("id_", metavar="ID", shell_complete=CONTAINERS)
@click.argument("label", nargs=-1, required=True, metavar="KEY=VALUE...")
@pass_app
def label(app: App, id_: str, label: tuple[str, ...]) -> None:
    """Set labels; an empty value removes one."""
    given = pairs(label)
    fields = [f"labels.{key}" for key in given]
    request = {"container": {"id": id_, "labels": given}, "fields": fields}
    changed = map_in(app.call("containers.v1.update", request), "container")
    if app.json:
        json_document(changed)
    else:
        out(labels(map_in(changed, "labels")))


@containers.command()
@click.option("-f", "--force", is_flag=True, help="Kill and remove its task first.")
@click.option("--keep-snapshot", is_flag=True, help="Leave it to collection.")
@click.argument(
    "ids", nargs=-1, required=True, metavar="ID...", shell_complete=CONTAINERS
)
@MISSING_OK
@pass_app
def rm(
    app: App, force: bool, keep_snapshot: bool, ids: tuple[str, ...], missing_ok: bool
) -> None:
    """Remove container records, with their snapshots. One that has a task stays."""

    def remove(id_: str, _last: bool) -> None:
        _refuse_task(app, id_, force)
        container = map_in(app.call("containers.v1.get", {"id": id_}), "container")
        app.call("containers.v1.delete", {"id": id_})
        if container.get("snapshot_key") and not keep_snapshot:
            request = {
                "key": container["snapshot_key"],
                "snapshotter": container.get("snapshotter", ""),
            }
            with suppress(NotFound, NotImplemented_, InvalidArgument):
                app.call("snapshots.v1.remove", request)

    remove_all(app, ids, remove, missing_ok=missing_ok)


def _refuse_task(app: App, id_: str, force: bool) -> None:
    """What runs must not lose its record and its snapshot by a slip."""
    try:
        task = map_in(app.call("tasks.v1.get", {"id": id_}), "task")
    except (NotFound, NotImplemented_):
        return  # none, or a daemon that runs no tasks
    except Unavailable:
        # One that cannot run any here keeps nobody from removing records. Where tasks
        # are disabled some may still run, and where they failed that is likely.
        health = app.call("introspection.v1.health", {"service": "tasks.v1"})
        status = health["services"][0]["status"]
        if status == "skipped" or (status == "disabled" and force):
            return
        raise
    if not force:
        status = map_in(task, "process").get("status", "")
        raise FailedPrecondition(
            f'container "{id_}" has a task, which is {status}: remove that first'
            f" (pluggctl tasks rm {id_}), or use --force: failed precondition"
        )
    app.call("tasks.v1.delete", {"id": id_, "force": True})
