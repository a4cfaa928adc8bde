# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The specification of a container: an image's configuration, and what was asked for.

Pure: configuration and options in, record out. What they ask for that cannot be is
refused here, by the option's name.
"""

from __future__ import annotations

import math

from pluggd.errors import InvalidArgument
from pluggd.model.record import Record
from pluggd.oci_spec import defaults
from pluggd.oci_spec.records import (
    VERSION,
    Capabilities,
    Cpu,
    DeviceRule,
    Linux,
    Memory,
    MountSpec,
    NamespaceSpec,
    Pids,
    ProcessSpec,
    ResourcesSpec,
    Rlimit,
    Root,
    Spec,
    User,
)
from pluggd.oci_spec.seccomp import default_seccomp
from pluggd.services.specs import SpecOptions

CPU_PERIOD = 100_000
"""Microseconds over which a share of the processors is granted."""


class ConfigFields(Record, frozen=True, rename="pascal"):
    """The part of an image configuration that says how it is run."""

    user: str = ""
    env: list[str] | None = None
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    working_dir: str = ""
    labels: dict[str, str] | None = None
    stop_signal: str = ""


class ImageConfig(Record, frozen=True):
    """An image configuration, as far as it matters here."""

    architecture: str = ""
    os: str = ""
    config: ConfigFields | None = None


def build_spec(
    config: ConfigFields,
    options: SpecOptions,
    *,
    architecture: str,
    cgroup: str,
    hostname: str,
) -> Spec:
    """architecture: of this machine, by Go's name. cgroup, hostname: where
    none is asked for.

    Raises InvalidArgument naming the option.
    """
    capabilities = _capabilities(options)
    process = ProcessSpec(
        terminal=options.terminal,
        user=User(username=options.user or config.user),
        args=_args(config, options),
        env=_env(config, options),
        cwd=_absolute(options.cwd or config.working_dir or "/", "cwd"),
        capabilities=Capabilities(
            bounding=capabilities, effective=capabilities, permitted=capabilities
        ),
        rlimits=_rlimits(options),
        no_new_privileges=not (options.new_privileges or options.privileged),
    )
    return Spec(
        oci_version=VERSION,
        process=process,
        root=Root(path=options.root_path or "rootfs", readonly=options.read_only),
        hostname="" if options.host_network else options.hostname or hostname,
        mounts=_mounts(options),
        linux=_linux(options, capabilities, architecture, cgroup),
        annotations=dict(options.annotations),
    )


def _linux(
    options: SpecOptions, capabilities: list[str], architecture: str, cgroup: str
) -> Linux:
    if options.seccomp not in ("", "default", "unconfined"):
        raise InvalidArgument(
            f"seccomp = {options.seccomp!r}: must be default or unconfined:"
            " invalid argument"
        )
    seccomp = None
    if options.seccomp != "unconfined" and not options.privileged:
        seccomp = default_seccomp(capabilities, architecture)
    return Linux(
        namespaces=_namespaces(options),
        resources=_resources(options),
        cgroups_path=options.cgroup or cgroup,
        masked_paths=[] if options.privileged else [*defaults.MASKED_PATHS],
        readonly_paths=[] if options.privileged else [*defaults.READONLY_PATHS],
        seccomp=seccomp,
    )


def _args(config: ConfigFields, options: SpecOptions) -> list[str]:
    """As docker does: arguments take the place of the image's Cmd, behind its
    Entrypoint; an entrypoint of one's own drops both."""
    if options.entrypoint:
        found = [*options.entrypoint, *options.args]
    else:
        found = [*(config.entrypoint or ()), *(options.args or config.cmd or ())]
    if not found:
        raise InvalidArgument(
            "args: the image names no command, so give one: invalid argument"
        )
    return found


def _env(config: ConfigFields, options: SpecOptions) -> list[str]:
    """Later ones replace earlier ones of their name; one without = removes it."""
    found: dict[str, str] = {}
    first = [defaults.PATH, *([defaults.TERM] if options.terminal else [])]
    for entry in (*first, *(config.env or ()), *options.env):
        name, equals, _ = entry.partition("=")
        if not name or "\0" in entry:
            raise InvalidArgument(
                f"env: {entry!r} is not of the form NAME=VALUE: invalid argument"
            )
        if equals:
            found[name] = entry
        else:
            found.pop(name, None)
    return list(found.values())


def _capabilities(options: SpecOptions) -> list[str]:
    known: set[str] = set(defaults.ALL_CAPABILITIES)
    found: set[str] = set(known if options.privileged else defaults.CAPABILITIES)
    for name, names, add in (
        ("cap_drop", options.cap_drop, False),
        ("cap_add", options.cap_add, True),
    ):
        for one in names:
            upper = one.upper()
            if upper in ("ALL", "CAP_ALL"):
                found = set(known) if add else set()
                continue
            whole = upper if upper.startswith("CAP_") else f"CAP_{upper}"
            if whole not in known:
                raise InvalidArgument(
                    f"{name}: {one!r} is no capability, try e.g. NET_ADMIN or ALL:"
                    " invalid argument"
                )
            if add:
                found.add(whole)
            else:
                found.discard(whole)
    return sorted(found)


def _rlimits(options: SpecOptions) -> list[Rlimit]:
    if options.max_files:
        return [
            Rlimit(type="RLIMIT_NOFILE", hard=options.max_files, soft=options.max_files)
        ]
    return [*defaults.RLIMITS]


def _namespaces(options: SpecOptions) -> list[NamespaceSpec]:
    left_out = {
        name
        for name, shared in (
            ("network", options.host_network),
            ("uts", options.host_network),
            ("pid", options.host_pid),
        )
        if shared
    }
    return [one for one in defaults.NAMESPACES if one.type not in left_out]


def _mounts(options: SpecOptions) -> list[MountSpec]:
    found = [*defaults.MOUNTS]
    if options.privileged or options.host_network:
        # sysfs shows the network namespace it is mounted in; that of the host cannot
        # be mounted by a namespace that does not own it.
        found = [_bound("/sys") if one.destination == "/sys" else one for one in found]
    if options.host_network:
        found += [_bound(path) for path in defaults.HOST_FILES]
    for mount in options.mounts:
        target = _absolute(mount.target, "mounts: target")
        type_ = mount.type or "bind"
        if type_ == "bind":
            _absolute(mount.source, "mounts: source of a bind mount")
        listed = [*mount.options]
        if type_ == "bind" and not {"bind", "rbind"} & set(listed):
            listed.insert(0, "rbind")
        found.append(
            MountSpec(
                destination=target,
                type=type_,
                source=mount.source or type_,
                options=listed,
            )
        )
    return found


def _bound(path: str) -> MountSpec:
    return MountSpec(
        destination=path, type="bind", source=path, options=["rbind", "ro"]
    )


def _absolute(path: str, what: str) -> str:
    if not path.startswith("/"):
        raise InvalidArgument(
            f"{what}: {path!r} must be an absolute path: invalid argument"
        )
    return path


def _resources(options: SpecOptions) -> ResourcesSpec:
    for name in ("memory", "cpus", "cpu_shares", "cpu_quota", "cpu_period", "pids"):
        if getattr(options, name) < 0:
            raise InvalidArgument(
                f"{name} = {getattr(options, name)}: must not be negative:"
                " invalid argument"
            )
    if options.cpus and (options.cpu_quota or options.cpu_period):
        raise InvalidArgument(
            "cpus: says in another form what cpu_quota and cpu_period say, give one of"
            " them: invalid argument"
        )
    quota, period = options.cpu_quota, options.cpu_period
    if options.cpus:
        quota, period = math.ceil(options.cpus * CPU_PERIOD), CPU_PERIOD
    cpu = Cpu(
        shares=options.cpu_shares, quota=quota, period=period, cpus=options.cpuset_cpus
    )
    memory = Memory(limit=options.memory, swap=options.memory_swap)
    return ResourcesSpec(
        devices=_devices(options),
        memory=memory if memory != Memory() else None,
        cpu=cpu if cpu != Cpu() else None,
        pids=Pids(limit=options.pids) if options.pids else None,
    )


def _devices(options: SpecOptions) -> list[DeviceRule]:
    if options.privileged:
        return [DeviceRule(allow=True, access="rwm")]
    return [*defaults.DEVICES]
