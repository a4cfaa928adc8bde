# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a container's specification becomes for the task that is made of it.

The record's specification stays as it is; this is a copy with what only the host of the
task knows: where the root filesystem is, and who its users are.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from pluggd.errors import InvalidArgument
from pluggd.oci_spec.users import find_user
from pluggd.services.containers import Container
from pluggd.services.tasks import Stdio


def as_map(value: object) -> dict[str, Any]:
    """The same value when it is a map, else an empty one."""
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}


def spec_of(container: Container) -> dict[str, Any]:
    """Its specification. Raises InvalidArgument when it is no map."""
    value = as_map(container.spec.value if container.spec else None)
    if not as_map(value.get("process")):
        raise InvalidArgument(
            f'container "{container.id}": its spec is no OCI runtime specification with'
            " a process; make one with specs.v1.generate: invalid argument"
        )
    return copy.deepcopy(value)


def has_own_pids(spec: Mapping[str, Any]) -> bool:
    """Whether all its processes end with the first."""
    namespaces: list[object] = as_map(spec.get("linux")).get("namespaces") or []
    return any(
        one.get("type") == "pid" and not one.get("path")
        for one in map(as_map, namespaces)
    )


def root_path(spec: Mapping[str, Any], bundle: Path) -> Path:
    return bundle / str(as_map(spec.get("root")).get("path") or "rootfs")


def set_terminal(process: dict[str, Any], io: Stdio) -> None:
    process["terminal"] = io.terminal
    if io.terminal and io.width and io.height:
        process["consoleSize"] = {"width": io.width, "height": io.height}
    else:
        process.pop("consoleSize", None)


def resolve_user(process: dict[str, Any], root: Path) -> None:
    """Put ids in the place of a user's name, from the image's own passwd and group.

    Blocks. Raises NotFound for a name that is not in them, InvalidArgument.
    """
    user = as_map(process.get("user"))
    name = user.pop("username", "")
    if not name:
        return
    found = find_user(root, str(name))
    extra = [*user.get("additionalGids", ()), *found.groups]
    user.update(uid=found.uid, gid=found.gid)
    if extra:
        user["additionalGids"] = sorted(set(extra))
    process["user"] = user
    environment = process.setdefault("env", [])
    if not any(str(one).startswith("HOME=") for one in environment):
        environment.append(f"HOME={found.home}")


INHERITED = (
    "user",
    "cwd",
    "env",
    "capabilities",
    "noNewPrivileges",
    "apparmorProfile",
    "selinuxLabel",
    "rlimits",
    "oomScoreAdj",
)


def exec_process(given: Any, first: Mapping[str, Any]) -> dict[str, Any]:
    """A further process: what was given, and the rest as for the first one.

    Raises InvalidArgument when it is no map with arguments.
    """
    process = copy.deepcopy(as_map(given))
    if not process.get("args"):
        raise InvalidArgument(
            "spec must be an OCI runtime specification's process with args:"
            " invalid argument"
        )
    for key in INHERITED:
        if key not in process and key in first:
            process[key] = copy.deepcopy(first[key])
    process.setdefault("cwd", "/")
    return process


def check_io(io: Stdio) -> None:
    """Raises InvalidArgument for streams that cannot be."""
    for name in ("stdin", "stdout", "stderr"):
        value = getattr(io, name)
        words = ("", "stream") if name == "stdin" else ("", "null")
        if value in words:
            if io.terminal and value == "null":
                raise InvalidArgument(
                    f"io.{name} = null: a terminal has no streams: invalid argument"
                )
            continue
        if io.terminal:
            raise InvalidArgument(
                f"io.{name} = {value!r}: a terminal has no streams: invalid argument"
            )
        if not value.startswith("/") or "\0" in value:
            raise InvalidArgument(
                f"io.{name} = {value!r}: must be {' or '.join(map(repr, words))}, or an"
                " absolute path: invalid argument"
            )
