# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""`pluggctl images`: names of images, and what stands behind them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from pluggd.cli.ctl.app import App, Fields, Group, pass_app
from pluggd.cli.ctl.args import IMAGES, NAMESPACES, pairs
from pluggd.cli.ctl.imagefs import COMMANDS, SNAPSHOTTER, unpacked
from pluggd.cli.ctl.output import clean, json_document, labels, out, size, table
from pluggd.cli.ctl.removal import MISSING_OK, remove_each


@click.group(cls=Group)
def images() -> None:
    """Images: names that point to content."""


PLATFORM = click.option(
    "--platform",
    multiple=True,
    metavar="OS/ARCH[/VARIANT]",
    help="Only these; may be repeated. [default: the daemon's]",
)
ALL_PLATFORMS = click.option("--all-platforms", is_flag=True, help="All that is there.")


for _command in COMMANDS:
    images.add_command(_command)


@images.command("import")
@click.option("--base-name", default="", help="Prefix for entries with a tag only.")
@click.option("--index-name", default="", help="Keep the index under this name too.")
@click.option("--digests", is_flag=True, help="Also name each image BASE@DIGEST.")
@PLATFORM
@ALL_PLATFORMS
@click.option("--label", multiple=True, metavar="KEY=VALUE")
@click.option("--unpack", is_flag=True, help="Also make their snapshots.")
@SNAPSHOTTER
@click.argument("file", type=click.Path())
@pass_app
def import_(
    app: App,
    base_name: str,
    index_name: str,
    digests: bool,
    platform: tuple[str, ...],
    all_platforms: bool,
    label: tuple[str, ...],
    unpack: bool,
    snapshotter: str,
    file: str,
) -> None:
    """Take in an OCI layout or docker archive (a tar file, or - for stdin)."""
    from pluggd.cli.ctl import archives

    arguments: Fields = {
        "base_name": base_name,
        "index_name": index_name,
        "digests": digests,
        "platforms": list(platform),
        "all_platforms": all_platforms,
        "labels": pairs(label),
    }
    taken = archives.take_in(app, file, arguments)
    for name in taken if unpack else ():
        unpacked(app, name, snapshotter)


@images.command()
@PLATFORM
@ALL_PLATFORMS
@click.option("--skip-manifest-json", is_flag=True, help="Leave out docker's part.")
@click.option("--skip-non-distributable", is_flag=True, help="Leave out such layers.")
@click.argument("file", type=click.Path())
@click.argument(
    "names", nargs=-1, required=True, metavar="NAME...", shell_complete=IMAGES
)
@pass_app
def export(
    app: App,
    platform: tuple[str, ...],
    all_platforms: bool,
    skip_manifest_json: bool,
    skip_non_distributable: bool,
    file: str,
    names: tuple[str, ...],
) -> None:
    """Write images into an archive (a tar file, or - for stdout).

    The file appears when it is complete, so that a failed export leaves none.
    """
    from pluggd.cli.ctl import archives

    arguments: Fields = {
        "names": list(names),
        "platforms": list(platform),
        "all_platforms": all_platforms,
        "skip_manifest_json": skip_manifest_json,
        "skip_non_distributable": skip_non_distributable,
    }
    archives.write_out(app, file, arguments)


def _registry_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option(
            "--hosts-dir",
            default="",
            metavar="DIRECTORY",
            help="Where hosts.toml files are, in place of the daemon's.",
        ),
        click.option(
            "-u",
            "--user",
            default="",
            metavar="USER[:PASSWORD]",
            help="Log in as this user; asks for a missing password.",
        ),
        click.option("--plain-http", is_flag=True, help="Do without TLS."),
        click.option("-q", "--quiet", is_flag=True, help="Only the digest."),
    ):
        command = option(command)
    return command


@images.command()
@PLATFORM
@click.option("--all-platforms", is_flag=True, help="Every one that there is.")
@click.option(
    "--snapshotter", default="", metavar="NAME", help="Unpack for this snapshotter."
)
@click.option("--no-unpack", is_flag=True, help="Fetch the blobs and no more.")
@click.option("--label", multiple=True, metavar="KEY=VALUE")
@_registry_options
@click.argument("name")
@pass_app
def pull(
    app: App,
    /,
    platform: tuple[str, ...],
    all_platforms: bool,
    snapshotter: str,
    no_unpack: bool,
    label: tuple[str, ...],
    name: str,
    **access: Any,
) -> None:
    """Fetch an image from its registry.

    NAME is the whole one, as in docker.io/library/alpine:latest. The daemon does the
    work, with its own credentials unless --user is given.
    """
    from pluggd.cli.ctl import registries

    arguments: Fields = {
        "name": name,
        "platforms": list(platform),
        "all_platforms": all_platforms,
        "unpack": not no_unpack,
        "snapshotter": snapshotter,
        "labels": pairs(label),
    }
    registries.pull(app, arguments, access)


@images.command()
@click.option(
    "--platform",
    default="",
    metavar="OS/ARCH[/VARIANT]",
    help="Of an index, only this.",
)
@_registry_options
@click.argument("name")
@click.argument("source", required=False, default="", shell_complete=IMAGES)
@pass_app
def push(app: App, /, platform: str, name: str, source: str, **access: Any) -> None:
    """Send an image to the registry that NAME begins with.

    SOURCE is the image here, when it has another name.
    """
    from pluggd.cli.ctl import registries

    arguments: Fields = {"name": name, "source": source, "platform": platform}
    registries.push(app, arguments, access)


@images.command()
@click.option("-q", "--quiet", is_flag=True, help="Only the names.")
@click.argument("filters", nargs=-1, metavar="[FILTER]...")
@pass_app
def ls(app: App, quiet: bool, filters: tuple[str, ...]) -> None:
    """List images; the size is that of this platform."""
    if quiet and not app.json:
        for item in app.each("images.v1.list", "images", filters):
            out(clean(item["name"]))
        return
    found = app.all_of("images.v1.list", "images", filters)
    from pluggd.cli.ctl import inspection

    rows = inspection.summaries(app, found)
    if app.json:
        json_document(rows)
        return
    table(
        ("REF", "TYPE", "DIGEST", "SIZE", "PLATFORMS", "STATUS", "UNPACKED", "LABELS"),
        [
            (
                row["name"],
                row["target"].get("media_type", ""),
                row["target"].get("digest", ""),
                size(row["size"]),
                ",".join(row["platforms"]),
                row.get("status", "-"),
                ",".join(row.get("unpacked", ())) or "-",
                labels(row.get("labels")),
            )
            for row in rows
        ],
    )


@images.command()
@click.argument("name", shell_complete=IMAGES)
@pass_app
def inspect(app: App, name: str) -> None:
    """Show an image as a tree: index, manifests, configuration, layers."""
    from pluggd.cli.ctl import inspection

    inspection.inspect(app, app.call("images.v1.get", {"name": name})["image"])


@images.command()
@click.option("--force", is_flag=True, help="Let a name that exists point here.")
@click.option(
    "--to-namespace",
    default="",
    metavar="NAME",
    help="Create the names in another namespace; the blobs are shared.",
    shell_complete=NAMESPACES,
)
@click.argument("source", shell_complete=IMAGES)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@pass_app
def tag(
    app: App, force: bool, to_namespace: str, source: str, names: tuple[str, ...]
) -> None:
    """Give an image further names."""
    from pluggd.cli.ctl import tagging

    tagging.tag(app, source, names, to_namespace or app.namespace, force=force)


@images.command()
@click.argument("name", shell_complete=IMAGES)
@click.argument("label", nargs=-1, required=True, metavar="KEY=VALUE...")
@pass_app
def label(app: App, name: str, label: tuple[str, ...]) -> None:
    """Set labels; KEY= removes one."""
    changed = pairs(label)
    answer = app.call(
        "images.v1.update",
        {
            "image": {"name": name, "labels": changed},
            "fields": [f"labels.{key}" for key in changed],
        },
    )
    result = answer.get("image", {})
    if app.json:
        json_document(result)
    else:
        out(clean(labels(result.get("labels"))))


@images.command()
@click.option("--sync", is_flag=True, help="Return after a whole collection.")
@click.argument(
    "names", nargs=-1, required=True, metavar="NAME...", shell_complete=IMAGES
)
@MISSING_OK
@pass_app
def rm(app: App, sync: bool, names: tuple[str, ...], missing_ok: bool) -> None:
    """Remove names; content that nothing else needs goes with a collection."""
    remove_each(
        app, names, "images.v1.delete", "name", missing_ok=missing_ok, sync=sync
    )
