# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""`pluggctl snapshots`: layered file systems, and mounting them here."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import click

from pluggd.cli.ctl.app import App, Fields, Group, pass_app
from pluggd.cli.ctl.args import LEASES, SNAPSHOTS, pairs
from pluggd.cli.ctl.output import (
    age,
    clean,
    exactly_when,
    json_document,
    labels,
    note,
    out,
    size,
    table,
)
from pluggd.cli.ctl.removal import MISSING_OK, remove_each
from pluggd.cli.ctl.snapshot_diff import diff
from pluggd.cli.ctl.snapshot_trees import tree_lines

ROOT = "containerd.io/gc.root"

F = TypeVar("F", bound=Callable[..., Any])

_SNAPSHOTTER = click.option(
    "--snapshotter",
    envvar="PLUGGD_SNAPSHOTTER",
    default="",
    metavar="NAME",
    help="Which one. [env PLUGGD_SNAPSHOTTER; default: the namespace's, else the daemon's]",
)
_KEY = click.argument("key", shell_complete=SNAPSHOTS)


def _making(function: F) -> F:
    """The options of what makes a snapshot."""
    for option in (
        click.option("--label", multiple=True, metavar="KEY=VALUE"),
        click.option(
            "--lease",
            default="",
            shell_complete=LEASES,
            help=f"Hold it by this lease, instead of by a label {ROOT}.",
        ),
    ):
        function = option(function)
    return function


@click.group(cls=Group)
def snapshots() -> None:
    """Snapshots: file systems in layers, each on a committed parent."""


snapshots.add_command(diff)


@snapshots.command()
@_SNAPSHOTTER
@click.option("-q", "--quiet", is_flag=True, help="Only the keys.")
@click.argument("filters", nargs=-1, metavar="[FILTER]...")
@pass_app
def ls(app: App, quiet: bool, filters: tuple[str, ...], snapshotter: str) -> None:
    """List snapshots."""
    found = _all(app, snapshotter, filters)
    if app.json:
        json_document(found)
    elif quiet:
        for item in found:
            out(clean(item["name"]))
    else:
        table(
            ("KEY", "PARENT", "KIND", "AGE", "LABELS"),
            [
                (
                    item["name"],
                    item.get("parent", ""),
                    item["kind"],
                    age(item.get("created_at", 0)),
                    labels(item.get("labels")),
                )
                for item in found
            ],
        )


@snapshots.command()
@_SNAPSHOTTER
@pass_app
def tree(app: App, snapshotter: str) -> None:
    """Show which snapshot is on which."""
    found = _all(app, snapshotter)
    if app.json:
        json_document(found)
        return
    for line in tree_lines(found):
        out(line)


@snapshots.command()
@_SNAPSHOTTER
@_KEY
@pass_app
def info(app: App, key: str, snapshotter: str) -> None:
    """Show a snapshot (always JSON)."""
    asked = {"key": key, "snapshotter": snapshotter}
    json_document(app.call("snapshots.v1.stat", asked).get("snapshot", {}))


@snapshots.command()
@_SNAPSHOTTER
@click.option("-b", "--bytes", "exact", is_flag=True, help="Sizes in bytes.")
@click.argument("keys", nargs=-1, metavar="[KEY]...", shell_complete=SNAPSHOTS)
@pass_app
def usage(app: App, exact: bool, keys: tuple[str, ...], snapshotter: str) -> None:
    """Show what snapshots take on the disk, without their parents."""
    names = keys or tuple(item["name"] for item in _all(app, snapshotter))
    found: list[Fields] = []
    for key in names:
        asked = {"key": key, "snapshotter": snapshotter}
        taken = app.call("snapshots.v1.usage", asked).get("usage", {})
        found.append({"key": key, "size": 0, "inodes": 0, **taken})
    if app.json:
        json_document(found)
        return
    table(
        ("KEY", "SIZE", "INODES"),
        [
            (item["key"], item["size"] if exact else size(item["size"]), item["inodes"])
            for item in found
        ],
    )


@snapshots.command()
@_SNAPSHOTTER
@_making
@click.argument("key")
@click.argument("parent", default="", shell_complete=SNAPSHOTS)
@pass_app
def prepare(
    app: App,
    key: str,
    parent: str,
    label: tuple[str, ...],
    lease: str,
    snapshotter: str,
) -> None:
    """Make a snapshot to write to, on a committed PARENT or on nothing."""
    _make(app, "prepare", key, parent, label, lease, snapshotter)


@snapshots.command()
@_SNAPSHOTTER
@_making
@click.argument("key")
@click.argument("parent", default="", shell_complete=SNAPSHOTS)
@pass_app
def view(
    app: App,
    key: str,
    parent: str,
    label: tuple[str, ...],
    lease: str,
    snapshotter: str,
) -> None:
    """Make a read-only snapshot of a committed PARENT."""
    _make(app, "view", key, parent, label, lease, snapshotter)


@snapshots.command()
@_SNAPSHOTTER
@_making
@_KEY
@click.argument("name")
@pass_app
def commit(
    app: App,
    key: str,
    name: str,
    label: tuple[str, ...],
    lease: str,
    snapshotter: str,
) -> None:
    """Fix the active snapshot KEY under a NAME, to be a parent of others."""
    asked = {
        "key": key,
        "name": name,
        "labels": _rooted(label, lease),
        "snapshotter": snapshotter,
    }
    answer = app.call("snapshots.v1.commit", asked, lease=lease)
    if app.json:
        json_document(answer.get("snapshot", {}))


@snapshots.command()
@_SNAPSHOTTER
@_KEY
@pass_app
def mounts(app: App, key: str, snapshotter: str) -> None:
    """Show what to mount, as lines for a shell (%target% is yours to replace)."""
    _show_mounts(app, _mounts(app, key, snapshotter), "%target%")


@snapshots.command()
@_SNAPSHOTTER
@_KEY
@click.argument("target", type=click.Path(exists=True, file_okay=False))
@pass_app
def mount(app: App, key: str, target: str, snapshotter: str) -> None:
    """Mount a snapshot at a directory of this machine; needs privileges."""
    from pluggd.model.record import convert
    from pluggd.model.types import Mount
    from pluggd.mount import mount_all

    found = _mounts(app, key, snapshotter)
    mount_all(convert(found, list[Mount]), target)
    if app.json:
        json_document({"mounted": key, "target": target})


@snapshots.command()
@click.option("--lazy", is_flag=True, help="Also while something uses it.")
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...")
@pass_app
def unmount(app: App, targets: tuple[str, ...], lazy: bool) -> None:
    """Unmount what is mounted at directories of this machine."""
    from pluggd.mount import unmount as unmount_at

    for target in targets:
        unmount_at(target, recursive=True, lazy=lazy)
    if app.json:
        json_document({"unmounted": list(targets)})


@snapshots.command()
@_SNAPSHOTTER
@_KEY
@click.argument("label", nargs=-1, required=True, metavar="KEY=VALUE...")
@pass_app
def label(app: App, key: str, label: tuple[str, ...], snapshotter: str) -> None:
    """Set labels; KEY= removes one."""
    changed = pairs(label)
    answer = app.call(
        "snapshots.v1.update",
        {
            "info": {"name": key, "labels": changed},
            "fields": [f"labels.{name}" for name in changed],
            "snapshotter": snapshotter,
        },
    )
    result = answer.get("snapshot", {})
    if app.json:
        json_document(result)
    else:
        out(clean(labels(result.get("labels"))))


@snapshots.command()
@_SNAPSHOTTER
@click.option("--sync", is_flag=True, help="Return after their bytes are gone.")
@click.argument(
    "keys", nargs=-1, required=True, metavar="KEY...", shell_complete=SNAPSHOTS
)
@MISSING_OK
@pass_app
def rm(
    app: App, keys: tuple[str, ...], sync: bool, missing_ok: bool, snapshotter: str
) -> None:
    """Remove snapshots; give children before their parents."""
    remove_each(
        app,
        keys,
        "snapshots.v1.remove",
        "key",
        missing_ok=missing_ok,
        sync=sync,
        more={"snapshotter": snapshotter},
    )


@snapshots.command()
@_SNAPSHOTTER
@pass_app
def cleanup(app: App, snapshotter: str) -> None:
    """Remove from the disk what belongs to no snapshot."""
    answer = app.call("snapshots.v1.cleanup", {"snapshotter": snapshotter})
    if app.json:
        json_document(answer)


# --- inside


def _all(app: App, snapshotter: str, filters: tuple[str, ...] = ()) -> list[Fields]:
    return app.all_of(
        "snapshots.v1.list", "snapshots", filters, more={"snapshotter": snapshotter}
    )


def _make(
    app: App,
    method: str,
    key: str,
    parent: str,
    label: tuple[str, ...],
    lease: str,
    snapshotter: str,
) -> None:
    asked = {
        "key": key,
        "parent": parent,
        "labels": _rooted(label, lease),
        "snapshotter": snapshotter,
    }
    answer = app.call(f"snapshots.v1.{method}", asked, lease=lease)
    if app.json:
        json_document(answer)
        return
    note(
        f"made {clean(key)}; to see it: pluggctl snapshots mount {clean(key)} DIRECTORY"
    )


def _rooted(label: tuple[str, ...], lease: str) -> dict[str, str]:
    """The labels that were asked for, and one without which it would be collected."""
    asked = pairs(label)
    if lease or any(key.startswith(ROOT) for key in asked):
        return asked
    return {**asked, ROOT: exactly_when(time.time_ns())}


def _mounts(app: App, key: str, snapshotter: str) -> list[Fields]:
    asked = {"key": key, "snapshotter": snapshotter}
    found: list[Fields] = app.call("snapshots.v1.mounts", asked).get("mounts", [])
    return found


def _show_mounts(app: App, found: list[Fields], target: str) -> None:
    if app.json:
        json_document(found)
        return
    for item in found:
        options = ",".join(item.get("options", []))
        type_ = item.get("type", "")
        out(f"mount -t {type_} {clean(item['source'])} {target} -o {clean(options)}")
