# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The root command: global options, and the table of what it can do."""

from __future__ import annotations

from collections.abc import Mapping

import click

from pluggd import __version__
from pluggd.cli.ctl.app import App, LazyGroup
from pluggd.cli.ctl.args import NAMESPACES

_HERE = "pluggd.cli.ctl"


class Root(LazyGroup):
    lazy: Mapping[str, tuple[str, str]] = {
        "version": (f"{_HERE}.system:version", "Show the versions of both ends."),
        "health": (f"{_HERE}.system:health", "Say whether the services serve."),
        "stats": (f"{_HERE}.stats:stats", "Show where time goes, and how much."),
        "plugins": (
            f"{_HERE}.plugins:plugins",
            "Plugins: ls, info, graph, restart, disable, enable.",
        ),
        "config": (f"{_HERE}.config:config", "Configuration: reload."),
        "namespaces": (
            f"{_HERE}.namespaces:namespaces",
            "Namespaces: create, ls, label, rm.",
        ),
        "images": (
            f"{_HERE}.images:images",
            "Images: pull, push, import, export, ls, inspect, tag, label, check, unpack, "
            "usage, mount, unmount, rm.",
        ),
        "content": (
            f"{_HERE}.content:content",
            "Blobs: ls, info, get, ingest, label, rm, active, fsck.",
        ),
        "snapshots": (
            f"{_HERE}.snapshots:snapshots",
            "Snapshots: prepare, view, commit, ls, tree, info, usage, mounts, mount, "
            "unmount, diff, label, rm, cleanup.",
        ),
        "leases": (f"{_HERE}.leases:leases", "Leases: create, ls, rm, resources."),
        "containers": (
            f"{_HERE}.containers:containers",
            "Container records: create, ls, info, label, rm.",
        ),
        "run": (f"{_HERE}.run:run", "Run a command in a new container."),
        "tasks": (
            f"{_HERE}.tasks:tasks",
            "What runs: ls, start, exec, attach, logs, ps, stats, kill, pause, resume, "
            "wait, rm.",
        ),
        "events": (f"{_HERE}.events:events", "Follow what happens."),
        "gc": (f"{_HERE}.gc:gc", "Collection: run, status, plan, explain."),
        "call": (f"{_HERE}.raw:call", "Call any method with JSON."),
        "methods": (f"{_HERE}.raw:methods", "List what can be called."),
        "completion": (
            f"{_HERE}.completion:completion",
            "Print a completion script for a shell.",
        ),
    }


@click.group(
    cls=Root,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 ok, 1 error, 2 usage, 3 daemon unreachable, 4 not found, "
    "5 exists already, 6 timed out, 130 interrupted.",
)
@click.option(
    "-a",
    "--address",
    envvar="PLUGGD_ADDRESS",
    default="",
    metavar="SOCKET",
    # Not looked at here: what connecting says comes with what to do about it.
    type=click.Path(readable=False),
    help="The daemon's socket. [env PLUGGD_ADDRESS; default: where `pluggd run` of "
    "this user listens]",
)
@click.option(
    "-n",
    "--namespace",
    envvar="PLUGGD_NAMESPACE",
    default="default",
    metavar="NAME",
    shell_complete=NAMESPACES,
    help="The namespace of the command. [env PLUGGD_NAMESPACE; default: default]",
)
@click.option("--json", is_flag=True, help="JSON instead of tables.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Give up on a call after so long.",
)
@click.version_option(__version__, message="pluggctl %(version)s")
@click.pass_context
def cli(
    context: click.Context,
    address: str,
    namespace: str,
    json: bool,
    timeout: float | None,
) -> None:
    """The client of the pluggd daemon."""
    app = App(address, namespace, json=json, timeout=timeout)
    context.obj = app
    context.call_on_close(app.close)
