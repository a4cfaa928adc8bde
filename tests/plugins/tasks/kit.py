# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the tests of tasks share: a root filesystem, the runtimes, and shorthand."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any as Anything

import pytest
import trio

from pluggd.client import Client
from pluggd.errors import NotFound
from pluggd.model import oci, platforms
from pluggd.services.containers import Container, Runtime
from pluggd.services.specs import SPECS, SpecOptions
from pluggd.services.tasks import TASKS, Exit, Input, Output, Process, Stdio
from pluggd.testing.images import Layout

BUSYBOX = "/bin/busybox"
COMMANDS = "sh echo cat sleep true stty head yes kill tail dd ls id pwd tty"
UNIFIED = "/sys/fs/cgroup/unified"


def why_not(runtime: str) -> str:
    """Why containers cannot run here under this runtime, "" when they can."""
    if os.geteuid() != 0:
        return "running containers needs root"
    if shutil.which(runtime) is None:
        return f"{runtime} is not installed"
    if not Path(BUSYBOX).exists():
        return "busybox-static is not installed, which is what runs in the containers"
    return ""


def program(runtime: str, directory: Path) -> str:
    """The runtime's program. crun refuses machines with control groups of both versions;
    there it is given one view without those of version 2."""
    path = shutil.which(runtime)
    assert path is not None
    if runtime != "crun" or not os.path.ismount(UNIFIED):
        return path
    hidden = f"umount {UNIFIED} && exec {path} " + '"$@"'
    if subprocess.run(
        ["unshare", "-m", "sh", "-c", hidden, "crun", "--version"],
        capture_output=True,
        check=False,
    ).returncode:
        pytest.skip("crun refuses this machine's control groups, and they stay visible")
    wrapper = directory / "crun"
    wrapper.write_text(f"#!/bin/sh\nexec unshare -m sh -c '{hidden}' crun \"$@\"\n")
    wrapper.chmod(0o755)
    return str(wrapper)


def make_rootfs(path: Path) -> Path:
    """A directory with busybox, a user and a group."""
    for name in ("bin", "etc", "tmp", "proc", "dev", "sys", "run"):
        (path / name).mkdir(parents=True)
    path.chmod(0o755)  # for users that are not root
    shutil.copy(BUSYBOX, path / "bin" / "busybox")
    for name in COMMANDS.split():
        (path / "bin" / name).symlink_to("busybox")
    (path / "etc" / "passwd").write_text(
        "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n"
    )
    (path / "etc" / "group").write_text("root:x:0:\napp:x:1001:\nextra:x:55:app\n")
    return path


class Kit:
    """Shorthand for one client and one root filesystem. Ids are unique to a test run,
    as control groups are named by them and others may run these tests, too."""

    def __init__(self, client: Client, rootfs: Path) -> None:
        self.client = client
        self.tasks = client.get(TASKS)
        self.specs = client.get(SPECS)
        self.rootfs = rootfs
        self.prefix = f"t{os.getpid()}"

    def id(self, name: str) -> str:
        return f"{self.prefix}-{name}"

    async def container(
        self, name: str, args: Sequence[str], **options: Anything
    ) -> str:
        cid = self.id(name)
        wanted = SpecOptions(args=[*args], root_path=str(self.rootfs), **options)
        made = await self.specs.generate(id=cid, options=wanted)
        runtime = Runtime(name="io.containerd.runc.v2")
        container = Container(id=cid, runtime=runtime, spec=made.spec)
        await self.client.containers.create(container=container)
        return cid

    async def created(
        self, name: str, *args: str, io: Stdio | None = None, **options: Anything
    ) -> str:
        """A container and its task, not started."""
        terminal = io is not None and io.terminal
        cid = await self.container(name, args, terminal=terminal, **options)
        await self.tasks.create(id=cid, io=io)
        return cid

    async def running(
        self, name: str, *args: str, io: Stdio | None = None, **options: Anything
    ) -> str:
        cid = await self.created(name, *args, io=io, **options)
        await self.tasks.start(id=cid)
        return cid

    async def shell(self, name: str, script: str, **options: Anything) -> str:
        return await self.running(name, "sh", "-c", script, **options)

    async def exec(
        self, cid: str, exec_id: str, script: str, **io: Anything
    ) -> Process:
        """Add a shell and start it."""
        from pluggd.model.types import Any

        spec = Any(value={"args": ["sh", "-c", script]})
        await self.tasks.exec(id=cid, exec_id=exec_id, spec=spec, io=Stdio(**io))
        return await self.tasks.start(id=cid, exec_id=exec_id)

    async def output(self, cid: str, exec_id: str = "", since: int = 0) -> list[Output]:
        """All that a process writes, to its end."""
        send, receive = trio.open_memory_channel[Output](0)
        found: list[Output] = []

        async def attach() -> None:
            async with send:
                await self.attach(cid, exec_id, since=since, out=send)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(attach)
            found += [item async for item in receive]
        return found

    async def text(self, cid: str, exec_id: str = "") -> str:
        items = await self.output(cid, exec_id)
        return b"".join(item.data for item in items).decode()

    async def attach(
        self,
        cid: str,
        exec_id: str = "",
        *,
        since: int = 0,
        out: trio.MemorySendChannel[Output],
        inputs: Sequence[Input] = (),
        lossless: bool = False,
    ) -> Exit:
        send, source = trio.open_memory_channel[Input](len(inputs))
        async with send, source:
            for item in inputs:
                await send.send(item)
            return await self.tasks.attach(
                id=cid,
                exec_id=exec_id,
                since=since,
                lossless=lossless,
                source=source,
                out=out,
            )

    async def remove(self, cid: str) -> None:
        """Whatever is there of it."""
        for call in (
            lambda: self.tasks.delete(id=cid, force=True),
            lambda: self.client.containers.delete(id=cid),
        ):
            try:
                await call()
            except NotFound:
                continue

    async def remove_all(self) -> None:
        for container in (await self.client.containers.list()).containers:
            await self.remove(container.id)


def left_behind(root: Path, prefix: str) -> list[str]:
    """What a task must not leave: processes, mounts, directories, control groups."""
    found: list[str] = []
    for proc in Path("/proc").iterdir():
        if proc.name.isdecimal():
            try:
                command = (proc / "cmdline").read_bytes().decode("utf-8", "replace")
            except OSError:
                continue
            if str(root) in command and "shim" in command:
                found.append(f"process {proc.name} {command}")
    mounts = Path("/proc/self/mountinfo").read_text()
    found += [line for line in mounts.splitlines() if str(root) in line]
    for top in (root / "state", root / "root"):
        for path in top.glob("pluggd.tasks.v1.oci/**/*"):
            if path.name != "runtimes":
                found.append(str(path))
    found += [str(p) for p in Path("/sys/fs/cgroup").glob(f"*/pluggd-*{prefix}-*")]
    found += [str(p) for p in Path("/sys/fs/cgroup").glob(f"pluggd-*{prefix}-*")]
    return found


def zombies() -> list[str]:
    """Children of this process, and of init, that nobody has reaped."""
    found: list[str] = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            _, _, rest = stat.read_text().rpartition(")")
        except OSError:
            continue
        state, parent, *_ = rest.split()
        if state == "Z" and parent == str(os.getpid()):
            found.append(str(stat.parent))
    return found


def archive(rootfs: Path, reference: str, config: dict[str, Anything]) -> bytes:
    """An OCI layout with one image: this directory, and what to run in it."""
    layout = Layout()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(rootfs, arcname=".")
    layer = buffer.getvalue()
    diff_id = f"sha256:{hashlib.sha256(layer).hexdigest()}"
    machine = platforms.normalize(platforms.default()).architecture
    described = {
        "os": "linux",
        "architecture": machine,
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": oci.OCI_MANIFEST,
        "config": layout.add_json(described, oci.OCI_CONFIG),
        "layers": [layout.add_blob(layer, oci.OCI_LAYER)],
    }
    entry = layout.add_json(manifest, oci.OCI_MANIFEST)
    layout.name(
        {**entry, "platform": {"os": "linux", "architecture": machine}}, reference
    )
    return layout.tar()
