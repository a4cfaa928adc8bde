# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""`pluggctl tasks`: the processes of containers."""

from __future__ import annotations

import signal as signals
import sys
from typing import Any

import click

from pluggd.cli.ctl.app import App, Fields, Group, pass_app
from pluggd.cli.ctl.args import CONTAINERS, TASKS
from pluggd.cli.ctl.output import (
    clean,
    exactly_when,
    json_document,
    json_line,
    note,
    out,
    size,
    table,
)
from pluggd.cli.ctl.removal import MISSING_OK, remove_each
from pluggd.cli.ctl.run import started, talk
from pluggd.cli.ctl.terminal import window, write_all
from pluggd.client.plain import map_in
from pluggd.errors import NotFound

EXEC_ID = click.option(
    "--exec-id", default="", metavar="ID", help="Of a process that exec added."
)
TASK = click.argument("id_", metavar="ID", shell_complete=TASKS)
PROCESS_TYPE = "types.containerd.io/opencontainers/runtime-spec/1/Process"
STOP_SIGNAL = "io.containerd.image.config.stop-signal"


@click.group(cls=Group)
def tasks() -> None:
    """Tasks: what runs in containers."""


@tasks.command()
@click.option("-q", "--quiet", is_flag=True, help="Only the ids.")
@pass_app
def ls(app: App, quiet: bool) -> None:
    """List the tasks of the namespace."""
    found = app.call("tasks.v1.list").get("tasks", [])
    if app.json:
        json_document(found)
    elif quiet:
        for item in found:
            out(clean(item["id"]))
    else:
        rows: list[tuple[object, ...]] = []
        for item in found:
            process = map_in(item, "process")
            exit_ = ""
            if process.get("status") == "stopped":
                exit_ = process.get("exit_status", 0)
            rows.append((item["id"], process.get("pid", 0), process["status"], exit_))
        table(("TASK", "PID", "STATUS", "EXIT"), rows)


@tasks.command()
@click.option("-d", "--detach", is_flag=True, help="Leave it running.")
@click.option("-i", "--interactive", is_flag=True, help="Pass stdin on.")
@click.argument("id_", metavar="ID", shell_complete=CONTAINERS)
@pass_app
def start(app: App, detach: bool, interactive: bool, id_: str) -> None:
    """Start a container that exists; again, when its task has been removed."""
    container = map_in(app.call("containers.v1.get", {"id": id_}), "container")
    process = map_in(map_in(container, "spec").get("value", {}), "process")
    terminal = bool(process.get("terminal"))
    io: Fields = {"terminal": terminal, "stdin": "stream" if interactive else ""}
    if terminal:
        io["width"], io["height"] = window(sys.stdout.fileno())
    app.call("tasks.v1.create", {"id": id_, "io": io})
    try:
        app.call("tasks.v1.start", {"id": id_})
    except BaseException:
        app.call("tasks.v1.delete", {"id": id_, "force": True})
        raise
    if detach:
        started(app, id_)
        return
    code = talk(app, id_, terminal=terminal, stdin=interactive)
    raise click.exceptions.Exit(code or 0)


@tasks.command("exec", context_settings={"allow_interspersed_args": False})
@click.option("--exec-id", default="", metavar="ID", help="[default: a new one]")
@click.option("-d", "--detach", is_flag=True, help="Leave it running.")
@click.option("-t", "--tty", is_flag=True, help="Give it a terminal.")
@click.option("-i", "--interactive", is_flag=True, help="Pass stdin on.")
@click.option("-w", "--cwd", default="", help="Its working directory.")
@click.option("-u", "--user", default="", metavar="USER[:GROUP]")
@click.option("-e", "--env", multiple=True, metavar="NAME=VALUE")
@TASK
@click.argument("command", nargs=-1, required=True, metavar="COMMAND [ARG]...")
@pass_app
def exec_(
    app: App,
    exec_id: str,
    detach: bool,
    tty: bool,
    interactive: bool,
    cwd: str,
    user: str,
    env: tuple[str, ...],
    id_: str,
    command: tuple[str, ...],
) -> None:
    """Run a further command in a running container; its exit code becomes ours."""
    from uuid import uuid4

    container = map_in(app.call("containers.v1.get", {"id": id_}), "container")
    first = map_in(map_in(container, "spec").get("value", {}), "process")
    process: Fields = {"args": list(command)}
    if cwd:
        process["cwd"] = cwd
    if user:
        process["user"] = {"username": user}
    if env or tty:
        given = [*(["TERM=xterm"] if tty else []), *env]
        names = {entry.partition("=")[0] for entry in given}
        kept = [e for e in first.get("env", []) if e.partition("=")[0] not in names]
        process["env"] = [*kept, *given]
    exec_id = exec_id or f"exec-{uuid4().hex[:12]}"
    io: Fields = {"terminal": tty, "stdin": "stream" if interactive else ""}
    if tty:
        io["width"], io["height"] = window(sys.stdout.fileno())
    spec = {"type_url": PROCESS_TYPE, "value": process}
    names_ = {"id": id_, "exec_id": exec_id}
    app.call("tasks.v1.exec", {**names_, "spec": spec, "io": io})
    code: int | None = None
    kept_ = False
    try:
        app.call("tasks.v1.start", names_)
        if detach:
            kept_ = True
            out(clean(exec_id))
            return
        code = talk(app, id_, exec_id, terminal=tty, stdin=interactive)
        kept_ = code is None
    finally:
        if not kept_:
            app.call("tasks.v1.delete", {**names_, "force": True})
    raise click.exceptions.Exit(code or 0)


@tasks.command()
@EXEC_ID
@click.option(
    "--no-stdin", is_flag=True, help="Only look: what is typed here stays here."
)
@TASK
@pass_app
def attach(app: App, exec_id: str, no_stdin: bool, id_: str) -> None:
    """Join a running process: its output from now on, and stdin where it takes it.

    Its exit code becomes ours. On a terminal ctrl-p ctrl-q leaves it; elsewhere ctrl-c
    does, and signals are not passed on.
    """
    task = map_in(app.call("tasks.v1.get", {"id": id_}), "task")
    process = _process(task, exec_id)
    io = map_in(process, "io")
    code = talk(
        app,
        id_,
        exec_id,
        terminal=bool(io.get("terminal")),
        stdin=io.get("stdin") == "stream" and not no_stdin,
        since=-1,
        forward=False,
    )
    raise click.exceptions.Exit(code or 0)


def _process(task: Fields, exec_id: str) -> Fields:
    if not exec_id:
        return map_in(task, "process")
    for one in task.get("execs", []):
        if one.get("exec_id") == exec_id:
            return dict(one)
    raise NotFound(f"process does not exist {exec_id}: not found")


@tasks.command()
@EXEC_ID
@click.option("-f", "--follow", is_flag=True, help="And what comes, until it ends.")
@click.option("-t", "--timestamps", is_flag=True, help="Before each piece.")
@TASK
@pass_app
def logs(app: App, exec_id: str, follow: bool, timestamps: bool, id_: str) -> None:
    """Show what a process wrote, as far as it is kept."""
    request = {"id": id_, "exec_id": exec_id, "follow": follow}
    with app.client.stream("tasks.v1.logs", request) as stream:
        for item in stream:
            if app.json:
                json_line(item)
                continue
            if item.get("lost"):
                note(f"pluggctl: {item['lost']} bytes of the log are lost")
            data = item.get("data", b"")
            if timestamps:
                when = exactly_when(item.get("time", 0)).encode()
                data = b"".join(
                    when + b" " + line for line in data.splitlines(keepends=True)
                )
            write_all(2 if item.get("stream") == "stderr" else 1, data)


@tasks.command()
@click.option("-s", "--signal", default="", help="[default: the image's, or TERM]")
@click.option("-a", "--all", "all_", is_flag=True, help="Every process in it.")
@EXEC_ID
@TASK
@pass_app
def kill(app: App, signal: str, all_: bool, exec_id: str, id_: str) -> None:
    """Send a signal, by name or number."""
    if not signal and not exec_id:
        container = map_in(app.call("containers.v1.get", {"id": id_}), "container")
        signal = map_in(container, "labels").get(STOP_SIGNAL, "")
    request: Fields = {"id": id_, "exec_id": exec_id, "all": all_}
    app.call("tasks.v1.kill", {**request, "signal": _number(signal or "TERM")})


def _number(text: str) -> int:
    if text.isdecimal():
        return int(text)
    name = text.upper()
    name = name if name.startswith("SIG") else f"SIG{name}"
    found: Any = getattr(signals, name, None)
    if not isinstance(found, signals.Signals):
        raise click.UsageError(f"{text!r} is no signal")
    return int(found)


@tasks.command()
@EXEC_ID
@TASK
@pass_app
def wait(app: App, exec_id: str, id_: str) -> None:
    """Wait until a process has ended, and print its exit code."""
    request = {"id": id_, "exec_id": exec_id}
    exit_ = map_in(app.call("tasks.v1.wait", request), "exit")
    if app.json:
        json_document(exit_)
    else:
        out(str(exit_.get("exit_status", 0)))
    if exit_.get("error"):
        note(f"pluggctl: {exit_['error']}")


@tasks.command()
@click.option("-f", "--force", is_flag=True, help="Kill it first.")
@EXEC_ID
@click.argument("ids", nargs=-1, required=True, metavar="ID...", shell_complete=TASKS)
@MISSING_OK
@pass_app
def rm(
    app: App, force: bool, exec_id: str, ids: tuple[str, ...], missing_ok: bool
) -> None:
    """Remove tasks that have stopped, with their logs; the containers stay."""
    extra: Fields = {"force": force, "exec_id": exec_id}
    remove_each(app, ids, "tasks.v1.delete", "id", missing_ok=missing_ok, more=extra)


@tasks.command()
@TASK
@pass_app
def ps(app: App, id_: str) -> None:
    """Show the processes in a container."""
    found = app.call("tasks.v1.pids", {"id": id_}).get("processes", [])
    if app.json:
        json_document(found)
        return
    table(
        ("PID", "PROCESS", "COMMAND"),
        [
            (
                one["pid"],
                "init" if one.get("init") else one.get("exec_id", ""),
                one.get("command", ""),
            )
            for one in found
        ],
    )


@tasks.command()
@TASK
@pass_app
def pause(app: App, id_: str) -> None:
    """Freeze all processes of a container."""
    app.call("tasks.v1.pause", {"id": id_})


@tasks.command()
@TASK
@pass_app
def resume(app: App, id_: str) -> None:
    """Let them go on."""
    app.call("tasks.v1.resume", {"id": id_})


@tasks.command()
@click.argument("ids", nargs=-1, metavar="[ID]...", shell_complete=TASKS)
@pass_app
def stats(app: App, ids: tuple[str, ...]) -> None:
    """Show what running tasks use."""
    found = app.call("tasks.v1.stats", {"ids": list(ids)}).get("stats", [])
    if app.json:
        json_document(found)
        return

    def limited(one: Fields, name: str) -> str:
        limit = one.get(f"{name}_limit", 0)
        text = size if name == "memory" else str
        return text(one.get(name, 0)) + (f" / {text(limit)}" if limit else "")

    table(
        ("TASK", "CPU TIME", "MEMORY", "PIDS", "READ", "WRITTEN", "OOM KILLS"),
        [
            (
                one["id"],
                f"{one.get('cpu', 0) / 1e9:.2f} s",
                limited(one, "memory"),
                limited(one, "pids"),
                size(one.get("read_bytes", 0)),
                size(one.get("written_bytes", 0)),
                one.get("oom_kills", 0),
            )
            for one in found
        ],
    )
