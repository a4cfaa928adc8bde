# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""`pluggctl run`: from the name of an image to a running process, in one step.

Made of calls that any client can make, in this order: images.v1.get (transfer.v1.pull),
unpack.v1.image, specs.v1.generate, snapshots.v1.prepare, containers.v1.create,
tasks.v1.create, start and attach. What is made before the container refers to it is held
by a lease; what fails on the way is taken back.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import click

from pluggd.cli.ctl.app import App, Fields, Leaf, pass_app
from pluggd.cli.ctl.args import IMAGES, pairs
from pluggd.cli.ctl.output import clean, json_document, note, out
from pluggd.cli.ctl.progress import Progress
from pluggd.cli.ctl.runoptions import container_options, spec_options
from pluggd.cli.ctl.terminal import window
from pluggd.client.plain import map_in
from pluggd.errors import AlreadyExists, NotFound, PluggdError

RUNTIME = "io.containerd.runc.v2"
"""Whatever runs containers here; the name that other clients of the record know."""
LEASE = 3600.0
"""Seconds after which a run that died lets go of what it made."""
SIGKILL = 9


@click.command(cls=Leaf, context_settings={"allow_interspersed_args": False})
@click.option("--rm", is_flag=True, help="Remove the container when it ends.")
@click.option("-d", "--detach", is_flag=True, help="Leave it running.")
@click.option("-t", "--tty", is_flag=True, help="Give it a terminal.")
@click.option("-i", "--interactive", is_flag=True, help="Pass stdin on.")
@container_options
@click.option("--label", multiple=True, metavar="KEY=VALUE")
@click.option("--platform", default="", metavar="OS/ARCH[/VARIANT]")
@click.option("--snapshotter", default="", help="[default: the namespace's]")
@click.option("--runtime", default=RUNTIME, help="runc, crun. [default: the daemon's]")
@click.option("--rootfs", is_flag=True, help="IMAGE is a directory with a system.")
@click.argument("image", shell_complete=IMAGES)
@click.argument("id_", metavar="ID")
@click.argument("command", nargs=-1, metavar="[COMMAND [ARG]...]")
@pass_app
def run(
    app: App,
    /,
    rm: bool,
    detach: bool,
    tty: bool,
    interactive: bool,
    label: tuple[str, ...],
    platform: str,
    snapshotter: str,
    runtime: str,
    rootfs: bool,
    image: str,
    id_: str,
    command: tuple[str, ...],
    **options: Any,
) -> None:
    """Run a command in a new container; pulls the image when it is not here.

    Its exit code becomes ours. On a terminal, ctrl-p ctrl-q leaves it running.
    """
    if rm and detach:
        raise click.UsageError(
            "--rm and --detach exclude each other: who would remove?"
        )
    if tty and not detach and not sys.stdout.isatty():
        raise click.UsageError("--tty needs a terminal, and stdout is none")
    wanted = spec_options(options, command)
    if tty:
        wanted["terminal"] = True
    io: Fields = {"terminal": tty, "stdin": "stream" if interactive else ""}
    if tty and not detach:
        io["width"], io["height"] = window(sys.stdout.fileno())
    container: Fields = {
        "id": id_,
        "image": "" if rootfs else image,
        "labels": pairs(label),
        "runtime": {"name": runtime},
    }
    refuse_taken(app, id_)
    # Where nothing can run, say so now and not when everything was fetched for it.
    with suppress(NotFound):
        app.call("tasks.v1.get", {"id": id_})
    with ExitStack() as made:
        with _lease(app) as lease:
            if rootfs:
                wanted["root_path"] = str(Path(image).resolve())
                request: Fields = {"id": id_}
            else:
                snapshot = _snapshot(app, id_, image, platform, snapshotter, lease)
                _undo(made, app, "snapshots.v1.remove", snapshot)
                container["snapshotter"] = snapshot["snapshotter"]
                container["snapshot_key"] = id_
                request = {"id": id_, "image": image, "platform": platform}
            spec = app.call("specs.v1.generate", {**request, "options": wanted})
            container["spec"] = spec["spec"]
            container["labels"] = {**spec.get("labels", {}), **container["labels"]}
            app.call("containers.v1.create", {"container": container})
            _undo(made, app, "containers.v1.delete", {"id": id_})
        app.call("tasks.v1.create", {"id": id_, "io": io})
        _undo(made, app, "tasks.v1.delete", {"id": id_, "force": True})
        app.call("tasks.v1.start", {"id": id_})
        if detach:
            made.pop_all()
            started(app, id_)
            return
        if not rm:
            made.pop_all()
        code = talk(app, id_, terminal=tty, stdin=interactive)
        if code is None:
            made.pop_all()
            code = 0
    raise click.exceptions.Exit(code)


def refuse_taken(app: App, id: str) -> None:
    """Raises AlreadyExists for a container that is there, before anything is made that
    has its name; of a snapshot the user may not know."""
    with suppress(NotFound):
        app.call("containers.v1.get", {"id": id})
        raise AlreadyExists(f'container "{id}": already exists')


def talk(
    app: App,
    id: str,
    exec_id: str = "",
    *,
    terminal: bool,
    stdin: bool,
    since: int = 0,
    forward: bool = True,
) -> int | None:
    """Join our streams to a process until it ends: its exit code, None when the user
    detached. When nobody reads our output, nobody is there for its either: it is killed,
    as it would be by SIGPIPE without us."""
    from pluggd.cli.ctl.conversation import converse

    try:
        code = converse(
            app,
            id,
            exec_id,
            terminal=terminal,
            stdin=stdin,
            since=since,
            forward=forward,
        )
    except BrokenPipeError:
        if forward:
            kill = {"id": id, "exec_id": exec_id, "signal": SIGKILL}
            with suppress(PluggdError):
                app.call("tasks.v1.kill", kill)
        raise
    if code is None:
        command = f"pluggctl -n {app.namespace} tasks attach {id}"
        note(f"\r\ndetached; it runs on, back to it with: {command}")
    return code


def started(app: App, id: str) -> None:
    """Say what runs now."""
    if app.json:
        json_document(map_in(app.call("tasks.v1.get", {"id": id}), "task"))
    else:
        out(clean(id))


def _undo(made: ExitStack, app: App, method: str, arguments: Fields) -> None:
    """Take a step back when the block is left, and say when that fails."""

    def step() -> None:
        try:
            app.call(method, arguments)
        except NotFound:
            return  # somebody else did
        except PluggdError as error:
            note(f"pluggctl: {error.code}: {error}")

    made.callback(step)


@contextmanager
def _lease(app: App) -> Generator[str]:
    lease = map_in(app.call("leases.v1.create", {"expires_in": LEASE}), "lease")["id"]
    try:
        yield lease
    finally:
        with suppress(PluggdError):  # it expires
            app.call("leases.v1.delete", {"id": lease})


def _snapshot(
    app: App, id: str, image: str, platform: str, snapshotter: str, lease: str
) -> Fields:
    """Prepare the container's root from an image, which is pulled when it is not here."""
    wanted: Fields = {"name": image, "snapshotter": snapshotter}
    try:
        app.call("images.v1.get", {"name": image})
    except NotFound:
        note(f"{clean(image)} is not here: pulling it")
        pull: Fields = {"name": image, "platforms": [platform] if platform else []}
        # Not under our lease, which goes with us: a pull that did not come to its end
        # leaves what came to the next one, and what is whole is the image's.
        _shown(app, "transfer.v1.pull", pull)
    unpack = {**wanted, "platform": platform}
    chain = _shown(app, "unpack.v1.image", unpack, lease)
    snapshot: Fields = {"key": id, "snapshotter": chain.get("snapshotter", "")}
    parent = {"parent": chain.get("chain_id", "")}
    app.call("snapshots.v1.prepare", {**snapshot, **parent}, lease=lease)
    return snapshot


def _shown(app: App, method: str, arguments: Fields, lease: str = "") -> Fields:
    """Call what reports its progress; bars on stderr, as stdout is the container's."""
    with Progress() as bars, app.stream(method, arguments, lease=lease) as call:
        for item in call:
            bars.show(item)
        return call.result
