# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""`pluggctl images`: whether images are whole, and their files."""

from __future__ import annotations

import os
from contextlib import suppress

import click

from pluggd.cli.ctl.app import App, Fields, Leaf, pass_app
from pluggd.cli.ctl.args import IMAGES
from pluggd.cli.ctl.output import clean, json_document, out, size, table
from pluggd.cli.ctl.progress import Progress

SNAPSHOTTER = click.option(
    "--snapshotter",
    envvar="PLUGGD_SNAPSHOTTER",
    default="",
    metavar="NAME",
    help="Which one. [env PLUGGD_SNAPSHOTTER; default: the namespace's, else the daemon's]",
)
ONE_PLATFORM = click.option(
    "--platform",
    default="",
    metavar="OS/ARCH[/VARIANT]",
    help="Of an image for several. [default: the daemon's]",
)
_NAME = click.argument("name", shell_complete=IMAGES)


@click.command(cls=Leaf)
@click.option("-q", "--quiet", is_flag=True, help="Only the names of complete ones.")
@click.argument("filters", nargs=-1, metavar="[FILTER]...")
@pass_app
def check(app: App, quiet: bool, filters: tuple[str, ...]) -> None:
    """Say whether images are complete for this platform, and where they are unpacked.

    Exits with 1 when one is not complete, and with 4 when a FILTER matches none.
    """
    from pluggd.cli.ctl import inspection
    from pluggd.errors import NotFound

    found = app.all_of("images.v1.list", "images", filters)
    if filters and not found:
        # A script that goes on after a check has had something checked.
        raise NotFound(f"no image matches {', '.join(filters)}: not found")
    inspection.check(app, found, quiet=quiet)


@click.command(cls=Leaf)
@SNAPSHOTTER
@ONE_PLATFORM
@_NAME
@pass_app
def unpack(app: App, name: str, snapshotter: str, platform: str) -> None:
    """Make the snapshots of an image, from which containers are prepared."""
    answer = unpacked(app, name, snapshotter, platform)
    if app.json:
        json_document(answer)
    else:
        out(f"{clean(answer['snapshotter'])} {clean(answer.get('chain_id', '-'))}")


@click.command(cls=Leaf)
@_NAME
@pass_app
def usage(app: App, name: str) -> None:
    """Show what an image takes on disk: its blobs, and each snapshot by itself."""
    found: Fields = app.call("unpack.v1.usage", {"name": name})["usage"]
    if app.json:
        json_document(found)
        return
    snapshots: list[Fields] = found.get("snapshots", [])
    rows = [("content", f"{found.get('blobs', 0)} blobs", found.get("content", 0), "-")]
    rows += [
        (one["snapshotter"], one["name"], one.get("size", 0), str(one.get("inodes", 0)))
        for one in snapshots
    ]
    rows.append(("total", "", sum(row[2] for row in rows), ""))
    table(
        ("WHERE", "KEY", "SIZE", "INODES"),
        [(where, key, size(taken), inodes) for where, key, taken, inodes in rows],
    )


@click.command(cls=Leaf)
@click.option("--rw", is_flag=True, help="To be written to; the changes are lost.")
@SNAPSHOTTER
@ONE_PLATFORM
@_NAME
@click.argument("target", type=click.Path(exists=True, file_okay=False))
@pass_app
def mount(
    app: App, name: str, target: str, rw: bool, snapshotter: str, platform: str
) -> None:
    """Mount the files of an image at a directory of this machine; needs privileges.

    Unpacks it where needed. `images unmount` takes it away again.
    """
    from pluggd.errors import AlreadyExists
    from pluggd.model.record import convert
    from pluggd.model.types import Mount
    from pluggd.mount import mount_all

    key = os.path.realpath(target)
    with suppress(AlreadyExists):
        app.call("leases.v1.create", {"id": key})
    try:
        answer = unpacked(app, name, snapshotter, platform, lease=key)
        snapshot: Fields = {"key": key, "snapshotter": answer["snapshotter"]}
        parent = {"parent": answer.get("chain_id", "")}
        method = f"snapshots.v1.{'prepare' if rw else 'view'}"
        made = app.call(method, {**snapshot, **parent}, lease=key)
        mount_all(convert(made["mounts"], list[Mount]), target)
    except AlreadyExists:
        raise click.ClickException(
            f"something is mounted at {target} already; images unmount {target} first"
        ) from None
    except BaseException:
        _forget(app, key)
        raise
    if app.json:
        json_document({**answer, "target": target})
    else:
        out(clean(answer.get("chain_id", "-")))
        out(target)


@click.command(cls=Leaf)
@click.option("--lazy", is_flag=True, help="Also while something uses it.")
@click.option("--keep", is_flag=True, help="Keep the snapshot, and what was written.")
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...")
@pass_app
def unmount(app: App, targets: tuple[str, ...], lazy: bool, keep: bool) -> None:
    """Unmount what `images mount` mounted, and remove its snapshot."""
    from pluggd.errors import NotFound
    from pluggd.mount import unmount as unmount_at

    for target in targets:
        # Before any is unmounted: what somebody else mounted is not ours to take away.
        try:
            app.call("leases.v1.list_resources", {"id": os.path.realpath(target)})
        except NotFound:
            raise click.ClickException(
                f"no `images mount` of namespace {app.namespace} is at {target}; "
                "other mounts are umount's, other namespaces those of -n"
            ) from None
    for target in targets:
        unmount_at(target, recursive=True, lazy=lazy)
        if not keep:
            _forget(app, os.path.realpath(target))
    if app.json:
        json_document({"unmounted": list(targets)})


def unpacked(
    app: App, name: str, snapshotter: str, platform: str = "", lease: str | None = None
) -> Fields:
    """Unpack an image, with bars; the answer."""
    arguments = {"name": name, "snapshotter": snapshotter, "platform": platform}
    with (
        Progress() as bars,
        app.stream("unpack.v1.image", arguments, lease=lease) as call,
    ):
        for item in call:
            bars.show(item)
        return call.result


def _forget(app: App, key: str) -> None:
    """Remove the snapshot of a mount, and the lease that holds it."""
    from pluggd.errors import NotFound

    with suppress(NotFound):
        held = app.call("leases.v1.list_resources", {"id": key}).get("resources", [])
        for one in held:
            if one["id"] == key and one["type"].startswith("snapshots/"):
                snapshotter = one["type"].removeprefix("snapshots/")
                with suppress(NotFound):
                    app.call(
                        "snapshots.v1.remove", {"key": key, "snapshotter": snapshotter}
                    )
        app.call("leases.v1.delete", {"id": key})


COMMANDS = (check, unpack, usage, mount, unmount)
