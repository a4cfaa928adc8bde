# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""`pluggctl snapshots diff`: what differs between snapshots, as a layer."""

from __future__ import annotations

import os
import secrets
import sys
from typing import Any

import click

from pluggd.cli.ctl.app import App, Fields, Leaf, pass_app
from pluggd.cli.ctl.args import SNAPSHOTS, pairs
from pluggd.cli.ctl.blobs import refuse_terminal, write_all
from pluggd.cli.ctl.imagefs import SNAPSHOTTER
from pluggd.cli.ctl.output import json_document

_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"


@click.command(cls=Leaf)
@SNAPSHOTTER
@click.option("--media-type", default=_TYPE, show_default=True)
@click.option("--ref", default="", help="Of the ingest.")
@click.option("--label", multiple=True, metavar="KEY=VALUE", help="On the blob.")
@click.option("--keep", is_flag=True, help="Keep the blob, and print its descriptor.")
@click.argument("key", shell_complete=SNAPSHOTS)
@click.argument("other", default="", shell_complete=SNAPSHOTS)
@pass_app
def diff(
    app: App,
    key: str,
    other: str,
    snapshotter: str,
    media_type: str,
    ref: str,
    label: tuple[str, ...],
    keep: bool,
) -> None:
    """Write what a snapshot changes in its parent to stdout, as a layer.

    With OTHER, what turns KEY into OTHER. --keep stores it instead.
    """
    if not keep:
        refuse_terminal("a layer", "redirect it, or use --keep")
    lease = app.call("leases.v1.create", {"expires_in": 3600.0})["lease"]["id"]
    views: list[str] = []
    where = {"snapshotter": snapshotter}

    def mounts(name: str) -> list[Any]:
        info: Fields = app.call("snapshots.v1.stat", {"key": name, **where})["snapshot"]
        if info.get("kind", "active") != "committed":
            answer = app.call("snapshots.v1.mounts", {"key": name, **where})
        else:
            view = f"diff-{secrets.token_hex(8)}"
            asked = {"key": view, "parent": name, **where}
            answer = app.call("snapshots.v1.view", asked, lease=lease)
            views.append(view)
        found: list[Any] = answer["mounts"]
        return found

    try:
        if other:
            lower, upper = key, other
        else:
            stat: Fields = app.call("snapshots.v1.stat", {"key": key, **where})
            lower, upper = stat["snapshot"].get("parent", ""), key
        labels = pairs(label)
        if keep:
            labels["containerd.io/gc.root"] = "pluggctl"
        asked = {
            "lower": mounts(lower) if lower else [],
            "upper": mounts(upper),
            "media_type": media_type,
            "ref": ref,
            "labels": labels,
        }
        made: Fields = app.call("diff.v1.create", asked, lease=lease)["diff"]
        if keep:
            json_document(made)
            return
        sys.stdout.flush()
        with app.stream("content.v1.fetch", {"digest": made["digest"]}) as call:
            for item in call:
                write_all(sys.stdout.fileno(), item)
    except BrokenPipeError:
        # The reader has what it wanted.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    finally:
        for view in views:
            app.call("snapshots.v1.remove", {"key": view, **where})
        app.call("leases.v1.delete", {"id": lease})
