# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A daemon that is killed in the middle of a large pull goes on where it was."""

from __future__ import annotations

import json
import math
import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from pluggd.testing import RunningDaemon, running_daemon
from pluggd.testing.images import Layout
from tests.plugins.registry.registry_kit import (
    copy_in,
    docker_registry,
    kept,
    needs_registry,
    pluggctl,
)

MIB = 1 << 20
SIZE = 200 * MIB
MEMORY = 64 * 1024
"""KiB by which the daemon may grow while it takes an image of 200 MB."""

LAYER = "application/vnd.oci.image.layer.v1.tar"


def make_layout(directory: Path) -> Path:
    """An image with one layer of 200 MiB that nothing compresses."""
    layout = Layout()
    config = layout.add_json(
        {"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": []}},
        "application/vnd.oci.image.config.v1+json",
    )
    layer = layout.add_blob(os.urandom(MIB) * (SIZE // MIB), LAYER)
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config,
        "layers": [layer],
    }
    layout.name(layout.add_json(manifest, manifest["mediaType"]), "large")  # type: ignore[arg-type]
    for name, data in layout.files().items():
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return directory


def memory(daemon: RunningDaemon, field: str) -> int:
    """VmHWM or VmRSS of its process, in KiB."""
    for line in Path(f"/proc/{daemon.pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise AssertionError(field)


async def pull(
    daemon: RunningDaemon, name: str, *, kill_at: int = 0
) -> list[dict[str, Any]]:
    """Run `pluggctl images pull --json`; its lines. kill_at: kill the daemon when so
    many bytes of the layer are there."""
    command = pluggctl(daemon, "images", "pull", "--no-unpack", "--json", name)
    items: list[dict[str, Any]] = []
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    buffer = b""
    async with process.stdout as output:
        async for data in output:
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                items.append(json.loads(line))
                if kill_at and items[-1].get("progress", 0) >= kill_at:
                    daemon.kill()
                    kill_at = 0
    await process.wait()
    return items


class Relay:
    """In front of a registry, for the daemon to be killed in time. host: as in names of
    images. limit: bytes of an answer after which it comes to a halt."""

    def __init__(self, registry: str, limit: float) -> None:
        self.host = ""
        self.limit = limit
        self._port = int(registry.rpartition(":")[2])

    async def run(
        self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.host = f"127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, self._serve, listeners)
            task_status.started()

    async def _serve(self, near: trio.SocketStream) -> None:
        far = await trio.open_tcp_stream("127.0.0.1", self._port)
        async with near, far, trio.open_nursery() as nursery:

            async def pass_on(
                source: trio.SocketStream, target: trio.SocketStream, limit: float
            ) -> None:
                with suppress(trio.BrokenResourceError):
                    async for data in source:
                        await target.send_all(data)
                        limit -= len(data)
                        if limit < 0:
                            return  # the other one ends when who asked is gone
                nursery.cancel_scope.cancel()

            nursery.start_soon(pass_on, near, far, math.inf)
            nursery.start_soon(pass_on, far, near, self.limit)


@needs_registry
@pytest.mark.slow
async def test_the_next_pull_goes_on_at_the_offset_and_nothing_is_left_over(
    tmp_path: Path,
) -> None:
    layout = make_layout(tmp_path / "layout")
    with trio.fail_after(120), docker_registry(tmp_path / "registry") as registry:
        async with trio.open_nursery() as nursery:
            relay = Relay(registry.host, limit=60 * MIB)
            await nursery.start(relay.run)
            copy_in(
                layout, "large", registry, "library/large:latest", "--preserve-digests"
            )
            name = f"{relay.host}/library/large:latest"
            async with running_daemon(tmp_path / "daemon", subprocess=True) as daemon:
                items = await pull(daemon, name, kill_at=20 * MIB)
                assert not any("image" in item for item in items)
                assert daemon.process is not None
                await daemon.process.wait()
            relay.limit = math.inf
            async with (
                running_daemon(tmp_path / "daemon", subprocess=True) as daemon,
                daemon.client(namespace="default") as client,
            ):
                (status,) = (await client.content.list_statuses()).statuses
                assert 20 * MIB <= status.offset <= 61 * MIB
                assert len((await client.leases.list()).leases) == 1
                began = memory(daemon, "VmRSS")
                *_, result = await pull(daemon, name)
                assert result["downloaded"] == SIZE - status.offset
                assert memory(daemon, "VmHWM") - began < MEMORY
                await registry.logged('"GET ', '" 206 ')
                # Also not the lease of the pull that died.
                assert (await client.leases.list()).leases == []
                for _ in range(2):
                    await client.gc.run(wait=True)
                infos = (await client.content.list()).infos
                root = tmp_path / "daemon/root"
                # The manifest and the config have none.
                large = [one.digest for one in infos if one.size > 16384]
                assert (len(infos), len(large)) == (3, 1)
                assert kept(root) == {f"blobs/{large[0].replace(':', '/')}"}
                assert (await client.content.verify(digest=largest(infos))).size == SIZE
                await client.images.delete(name=name, sync=True)
                assert kept(root) == set()
            nursery.cancel_scope.cancel()


def largest(infos: list[Any]) -> str:
    digest: str = max(infos, key=lambda info: info.size).digest
    return digest
