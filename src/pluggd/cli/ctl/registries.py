# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""`pluggctl images pull` and `push`: the daemon works, this shows how far it is."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Mapping
from typing import Any

import click

from pluggd.cli.ctl.app import App, Fields
from pluggd.cli.ctl.output import clean, json_line, out
from pluggd.cli.ctl.pullview import PullView
from pluggd.client.plain import map_in


def pull(app: App, arguments: Fields, access: Mapping[str, Any]) -> None:
    """Pull, and say what came; with `--json` each item and then the result."""
    result = _run(app, "transfer.v1.pull", arguments, access)
    if app.json:
        json_line(result)
        return
    image = map_in(result, "image")
    digest = clean(map_in(image, "target").get("digest", ""))
    if access["quiet"]:
        out(digest)
        return
    for snapshot in result.get("snapshots", []):
        chain = clean(snapshot.get("chain_id", ""))
        out(f"unpacked {clean(snapshot.get('manifest', ''))} {chain}")


def push(app: App, arguments: Fields, access: Mapping[str, Any]) -> None:
    """Push, and say what is there now."""
    result = _run(app, "transfer.v1.push", arguments, access)
    if app.json:
        json_line(result)
    elif access["quiet"]:
        out(clean(map_in(result, "target").get("digest", "")))


def _run(app: App, method: str, arguments: Fields, access: Mapping[str, Any]) -> Fields:
    username, password = _credentials(access["user"])
    request: Fields = {
        **arguments,
        "plain_http": access["plain_http"],
        "username": username,
        "password": password,
        # Of our directory, not of the daemon's.
        "hosts_dir": access["hosts_dir"] and os.path.abspath(access["hosts_dir"]),
    }
    with (
        PullView(enabled=not app.json and not access["quiet"]) as view,
        app.stream(method, request) as call,
    ):
        for item in call:
            if app.json:
                json_line(item)
            else:
                view.show(item)
        result = call.result
        view.finish(result.get("downloaded", 0) or result.get("uploaded", 0))
        return result


def _credentials(user: str) -> tuple[str, str]:
    username, colon, password = user.partition(":")
    if username and not colon:
        if not sys.stdin.isatty():
            raise click.UsageError(
                "--user without a password asks for it on a terminal, and stdin is none; "
                "write USER:PASSWORD"
            )
        try:
            password = getpass.getpass(f"Password of {username}: ")
        except EOFError:
            raise click.UsageError("no password was given") from None
    return username, password
