# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The options that say what a container is to be, shared by the commands that make one.

They become `SpecOptions` of specs.v1.generate; what is not given is not sent.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from pluggd.cli.ctl.app import Fields

_size = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?b)?", re.IGNORECASE)
_FACTORS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


class Size(click.ParamType[int]):
    """Bytes: `65536`, `64k`, `512m`, `1.5g`; binary units."""

    name = "size"

    def convert(
        self,
        value: str | int,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> int:
        if isinstance(value, int):
            return value
        found = _size.fullmatch(value.strip())
        if found is None:
            self.fail(f"{value!r} is no size such as 512m or 2g", param, ctx)
        return int(float(found[1]) * _FACTORS[found[2].lower()])


def container_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds them; `spec_options` takes their values out again."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS = (
    click.option("-e", "--env", multiple=True, metavar="NAME=VALUE"),
    click.option(
        "--env-file",
        multiple=True,
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="Lines of NAME=VALUE.",
    ),
    click.option("-w", "--cwd", default="", help="Its working directory."),
    click.option(
        "-u", "--user", default="", metavar="USER[:GROUP]", help="Names or numbers."
    ),
    click.option("--hostname", default="", help="[default: the id]"),
    click.option("--entrypoint", default="", help="In place of the image's."),
    click.option("--read-only", is_flag=True, help="The root filesystem."),
    click.option(
        "-v",
        "--mount",
        multiple=True,
        metavar="SOURCE:TARGET[:OPTIONS]",
        help="Or type=T,src=S,dst=D,options=A:B as ctr has it.",
    ),
    click.option("-m", "--memory", type=Size(), help="Limit, as in 512m."),
    click.option("--cpus", type=click.FloatRange(min=0), help="Limit, as in 1.5."),
    click.option("--pids", type=click.IntRange(min=1), help="Limit of processes."),
    click.option("--max-files", type=click.IntRange(min=1), help="Open files."),
    click.option("--cap-add", multiple=True, metavar="CAPABILITY"),
    click.option("--cap-drop", multiple=True, metavar="CAPABILITY"),
    click.option(
        "--seccomp",
        type=click.Choice(["default", "unconfined"]),
        default="default",
        show_default=True,
    ),
    click.option(
        "--new-privileges", is_flag=True, help="Let setuid programs have effect."
    ),
    click.option("--privileged", is_flag=True, help="No walls but the filesystem."),
    click.option("--net-host", is_flag=True, help="Share the host's network."),
    click.option("--pid-host", is_flag=True, help="See the host's processes."),
    click.option("--cgroup", default="", help="An absolute path."),
)


def spec_options(values: Fields, args: tuple[str, ...]) -> Fields:
    """SpecOptions from the values of the options; those taken are removed."""
    env = [line for file in values.pop("env_file") for line in _lines(file)]
    env += [_from_here(entry) for entry in values.pop("env")]
    entrypoint = values.pop("entrypoint")
    found: Fields = {
        "args": list(args),
        "env": env,
        "entrypoint": [entrypoint] if entrypoint else [],
        "mounts": [_mount(text) for text in values.pop("mount")],
        "host_network": values.pop("net_host"),
        "host_pid": values.pop("pid_host"),
    }
    for name in [
        "cwd",
        "user",
        "hostname",
        "read_only",
        "memory",
        "cpus",
        "pids",
        "max_files",
        "seccomp",
        "new_privileges",
        "privileged",
        "cgroup",
    ]:
        found[name] = values.pop(name)
    for name in ("cap_add", "cap_drop"):
        found[name] = list(values.pop(name))
    return {key: value for key, value in found.items() if value}


def _from_here(entry: str) -> str:
    """A bare NAME has the value that it has here."""
    if "=" in entry or entry not in os.environ:
        return entry
    return f"{entry}={os.environ[entry]}"


def _lines(file: Path) -> list[str]:
    lines = (line.strip() for line in file.read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _mount(text: str) -> Fields:
    if "=" in text and "," in text:
        return _ctr_mount(text)
    source, colon, rest = text.partition(":")
    target, _, options = rest.partition(":")
    if not colon or not target:
        raise click.UsageError(f"--mount {text!r} is not SOURCE:TARGET[:OPTIONS]")
    listed = [one for one in options.split(",") if one]
    source = str(Path(source).absolute())
    return {"type": "bind", "source": source, "target": target, "options": listed}


def _ctr_mount(text: str) -> Fields:
    found: Fields = {"type": "bind", "source": "", "target": "", "options": []}
    names = {"src": "source", "dst": "target", "destination": "target"}
    for pair in text.split(","):
        key, _, value = pair.partition("=")
        key = names.get(key, key)
        if key not in found:
            raise click.UsageError(
                f"--mount {text!r}: {key!r} is none of type, src, dst, options"
            )
        found[key] = value.split(":") if key == "options" else value
    return found
