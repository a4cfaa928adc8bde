# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The parts of an OCI runtime specification that are written here, as records.

Names in JSON are camel case, with the exceptions that the specification makes. What is
at its default is left out, as the specification allows for every such field.
"""

from __future__ import annotations

from pluggd.model.record import Record

VERSION = "1.0.2"
"""Understood by every runtime of the last years; nothing newer is used."""

TYPE_URL = "types.containerd.io/opencontainers/runtime-spec/1/Spec"
PROCESS_TYPE_URL = "types.containerd.io/opencontainers/runtime-spec/1/Process"


class User(Record, frozen=True, rename="camel"):
    """username: to be looked up in the root filesystem when the task is made."""

    uid: int = 0
    gid: int = 0
    additional_gids: list[int] = []
    username: str = ""


class Capabilities(Record, frozen=True):
    bounding: list[str] = []
    effective: list[str] = []
    permitted: list[str] = []
    inheritable: list[str] = []
    ambient: list[str] = []


class Rlimit(Record, frozen=True, omit_defaults=False):
    type: str
    hard: int
    soft: int


class ProcessSpec(Record, frozen=True, rename="camel"):
    terminal: bool = False
    user: User | None = None
    args: list[str] = []
    env: list[str] = []
    cwd: str = ""
    capabilities: Capabilities | None = None
    rlimits: list[Rlimit] = []
    no_new_privileges: bool = False
    oom_score_adj: int | None = None


class Root(Record, frozen=True):
    path: str
    readonly: bool = False


class MountSpec(Record, frozen=True):
    destination: str
    type: str
    source: str
    options: list[str] = []


class NamespaceSpec(Record, frozen=True):
    type: str
    path: str = ""


class DeviceRule(Record, frozen=True, omit_defaults=False):
    allow: bool
    access: str
    type: str | None = None
    major: int | None = None
    minor: int | None = None


class Memory(Record, frozen=True):
    limit: int = 0
    swap: int = 0


class Cpu(Record, frozen=True):
    shares: int = 0
    quota: int = 0
    period: int = 0
    cpus: str = ""


class Pids(Record, frozen=True):
    limit: int


class ResourcesSpec(Record, frozen=True):
    devices: list[DeviceRule] = []
    memory: Memory | None = None
    cpu: Cpu | None = None
    pids: Pids | None = None


class SyscallArg(Record, frozen=True, rename="camel", omit_defaults=False):
    index: int
    value: int
    value_two: int = 0
    op: str = "SCMP_CMP_EQ"


class Syscall(Record, frozen=True, rename={"errno_ret": "errnoRet"}):
    names: list[str]
    action: str
    errno_ret: int | None = None
    args: list[SyscallArg] = []


class Seccomp(
    Record,
    frozen=True,
    rename={"default_action": "defaultAction", "default_errno_ret": "defaultErrnoRet"},
):
    default_action: str
    default_errno_ret: int | None = None
    architectures: list[str] = []
    syscalls: list[Syscall] = []


class Linux(Record, frozen=True, rename="camel"):
    namespaces: list[NamespaceSpec] = []
    resources: ResourcesSpec | None = None
    cgroups_path: str = ""
    masked_paths: list[str] = []
    readonly_paths: list[str] = []
    seccomp: Seccomp | None = None
    rootfs_propagation: str = ""


class Spec(Record, frozen=True, rename="camel"):
    oci_version: str
    process: ProcessSpec
    root: Root
    hostname: str = ""
    mounts: list[MountSpec] = []
    linux: Linux | None = None
    annotations: dict[str, str] = {}
