# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Specifications: what a container is to be, worked out from its image and options."""

from __future__ import annotations

from typing import Protocol

from pluggd.model.record import Record
from pluggd.model.types import Any, Mount
from pluggd.services.kind import Kind
from pluggd.services.rpc import rpc


class SpecOptions(Record, frozen=True):
    """What is asked for beside the image; the defaults ask for nothing.

    args: in the place of the image's Cmd. entrypoint: in the place of its Entrypoint
        and Cmd. env: NAME=VALUE, or NAME to remove one. user: `name`, `uid`,
        `name:group`; looked up in the image when the task is made.
    root_path: a directory on the host, for containers without a snapshot.
    mounts: on the host's `source` at `target`; type "" is bind.
    memory, memory_swap in bytes; cpus a number of processors, or cpu_quota and
        cpu_period in microseconds; pids and max_files numbers; 0 for no limit.
    cap_add, cap_drop: `NET_ADMIN`, `CAP_NET_ADMIN` or `ALL`; drops come first.
    seccomp: `default` or `unconfined`. new_privileges: allow setuid programs to gain
        any. privileged: all capabilities and devices, no seccomp, nothing masked.
    host_network, host_pid: share the host's namespace.
    hostname: without, the id. cgroup: an absolute path; without, one from namespace
        and id.
    """

    args: list[str] = []
    entrypoint: list[str] = []
    env: list[str] = []
    cwd: str = ""
    user: str = ""
    hostname: str = ""
    terminal: bool = False
    root_path: str = ""
    read_only: bool = False
    mounts: list[Mount] = []
    memory: int = 0
    memory_swap: int = 0
    cpus: float = 0.0
    cpu_shares: int = 0
    cpu_quota: int = 0
    cpu_period: int = 0
    cpuset_cpus: str = ""
    pids: int = 0
    max_files: int = 0
    cap_add: list[str] = []
    cap_drop: list[str] = []
    seccomp: str = ""
    new_privileges: bool = False
    privileged: bool = False
    host_network: bool = False
    host_pid: bool = False
    cgroup: str = ""
    annotations: dict[str, str] = {}


class Generated(Record, frozen=True):
    """spec: for a container's `spec`. labels: for its labels, from the image.
    manifest, config: digests of the image that was chosen, "" without an image."""

    spec: Any = Any()
    labels: dict[str, str] = {}
    manifest: str = ""
    config: str = ""


class Specs(Protocol):
    """Makes OCI runtime specifications."""

    @rpc()
    async def generate(
        self,
        *,
        id: str,
        image: str = "",
        platform: str = "",
        options: SpecOptions | None = None,
    ) -> Generated:
        """The specification of a container of this id.

        image: a name, whose configuration gives command, environment, directory, user
        and labels; "" for none. platform: of an index, this machine's by default.
        Raises NotFound (image, a blob, the platform), InvalidArgument.
        """
        ...


SPECS = Kind("pluggd.specs.v1", Specs)
