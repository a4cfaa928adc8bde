# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the kernel counts for a container, in control groups of version 1 or 2.

Found from a process of the container, since who named the group is the specification or
the runtime. On machines with both, the version is that which has the controllers.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pluggd.services.tasks import Stats
from pluggd.struct import Struct, field

UNLIMITED = 1 << 62
"""Limits above this mean none; version 1 writes the largest multiple of a page."""


class Cgroup(Struct, frozen=True):
    """The directories of a group: by controller in version 1, under "" in version 2."""

    version: int
    paths: Mapping[str, Path] = field(default_factory=dict[str, Path])

    def _read(self, controller: str, name: str) -> str:
        path = self.paths.get(controller if self.version == 1 else "")
        if path is None:
            return ""
        try:
            return (path / name).read_text("ascii")
        except OSError:
            return ""

    def _number(self, controller: str, name: str) -> int:
        text = self._read(controller, name).strip()
        number = int(text) if text.isdecimal() else 0
        return number if number < UNLIMITED else 0

    def _table(self, controller: str, name: str) -> dict[str, int]:
        pairs = (line.split() for line in self._read(controller, name).splitlines())
        return {
            pair[0]: int(pair[1])
            for pair in pairs
            if len(pair) == 2 and pair[1].isdecimal()
        }

    def pids(self) -> list[int]:
        """All processes in the group and those below it."""
        found: set[int] = set()
        for path in self._own():
            for place in (path, *(p for p in path.rglob("*") if p.is_dir())):
                with suppress(OSError):
                    found.update(map(int, (place / "cgroup.procs").read_text().split()))
            break
        return sorted(found)

    def _own(self) -> list[Path]:
        """Directories of which the container is alone, best known first."""
        names = ("pids", "memory", "freezer", "devices", "")
        return [self.paths[name] for name in names if name in self.paths]

    def oom_kills(self) -> int:
        """Processes killed for want of memory; both versions count them by one name."""
        name = "memory.oom_control" if self.version == 1 else "memory.events"
        return self._table("memory", name).get("oom_kill", 0)

    @property
    def oom_file(self) -> Path | None:
        """What changes when that number does."""
        path = self.paths.get("memory" if self.version == 1 else "")
        if path is None:
            return None
        return path / ("memory.oom_control" if self.version == 1 else "memory.events")

    def stats(self, id: str, timestamp: int) -> Stats:
        if self.version == 1:
            cpu = self._table("cpuacct", "cpuacct.stat")
            tick = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
            throttled = self._table("cpu", "cpu.stat").get("throttled_time", 0)
            read, written = self._io_v1()
            return Stats(
                id=id,
                timestamp=timestamp,
                cgroup_version=1,
                memory=self._number("memory", "memory.usage_in_bytes"),
                memory_limit=self._number("memory", "memory.limit_in_bytes"),
                memory_peak=self._number("memory", "memory.max_usage_in_bytes"),
                cpu=self._number("cpuacct", "cpuacct.usage"),
                cpu_user=cpu.get("user", 0) * tick,
                cpu_system=cpu.get("system", 0) * tick,
                throttled=throttled,
                pids=self._number("pids", "pids.current"),
                pids_limit=self._number("pids", "pids.max"),
                read_bytes=read,
                written_bytes=written,
                oom_kills=self.oom_kills(),
            )
        cpu = self._table("", "cpu.stat")
        read, written = self._io_v2()
        return Stats(
            id=id,
            timestamp=timestamp,
            cgroup_version=2,
            memory=self._number("", "memory.current"),
            memory_limit=self._number("", "memory.max"),
            memory_peak=self._number("", "memory.peak"),
            cpu=cpu.get("usage_usec", 0) * 1000,
            cpu_user=cpu.get("user_usec", 0) * 1000,
            cpu_system=cpu.get("system_usec", 0) * 1000,
            throttled=cpu.get("throttled_usec", 0) * 1000,
            pids=self._number("", "pids.current"),
            pids_limit=self._number("", "pids.max"),
            read_bytes=read,
            written_bytes=written,
            oom_kills=self.oom_kills(),
        )

    def _io_v1(self) -> tuple[int, int]:
        sums = {"Read": 0, "Write": 0}
        text = self._read("blkio", "blkio.throttle.io_service_bytes")
        for line in text.splitlines():
            parts = line.split()
            if len(parts) == 3 and parts[1] in sums:
                sums[parts[1]] += int(parts[2])
        return sums["Read"], sums["Write"]

    def _io_v2(self) -> tuple[int, int]:
        sums = {"rbytes": 0, "wbytes": 0}
        for line in self._read("", "io.stat").splitlines():
            for pair in line.split()[1:]:
                key, _, value = pair.partition("=")
                if key in sums:
                    sums[key] += int(value)
        return sums["rbytes"], sums["wbytes"]


def cgroup_of(pid: int, proc: Path = Path("/proc")) -> Cgroup | None:
    """The control group of a process; None when it is gone, or in none of its own."""
    try:
        memberships = (proc / str(pid) / "cgroup").read_text()
        mounts = (proc / "self" / "mountinfo").read_text()
    except OSError:
        return None
    unified, controllers = _mounted(mounts)
    paths: dict[str, Path] = {}
    unified_path: Path | None = None
    for line in memberships.splitlines():
        number, names, path = line.split(":", 2)
        if path == "/":
            continue  # shared with everybody
        if number == "0" and not names:
            unified_path = unified and unified / path.lstrip("/")
            continue
        for name in names.split(","):
            if name in controllers:
                paths[name] = controllers[name] / path.lstrip("/")
    if paths:
        return Cgroup(1, paths)
    return Cgroup(2, {"": unified_path}) if unified_path else None


def _mounted(mountinfo: str) -> tuple[Path | None, dict[str, Path]]:
    """Where version 2 is, and the controllers of version 1."""
    unified: Path | None = None
    controllers: dict[str, Path] = {}
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        place = Path(before.split(" ")[4])
        if kind == "cgroup2":
            unified = unified or place
        elif kind == "cgroup":
            for name in options.split(" ")[-1].split(","):
                controllers.setdefault(name, place)
    return unified, controllers
