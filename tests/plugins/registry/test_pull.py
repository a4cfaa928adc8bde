# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Pulls from a real registry."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from pluggd.client import Client
from pluggd.core.discovery import discover
from pluggd.errors import InvalidArgument, NotFound, Unavailable
from pluggd.services import call
from pluggd.services.snapshots import SNAPSHOTS
from pluggd.services.specs import SPECS, SpecOptions
from pluggd.services.transfer import ExportItem
from pluggd.testing import running_daemon
from tests.plugins.registry.registry_kit import (
    Pull,
    Registry,
    descriptor_of,
    needs_registry,
    pluggctl,
    pull,
)
from tests.plugins.tasks.screen import at_terminal

pytestmark = [needs_registry, pytest.mark.slow]

SOURCE = "containerd.io/distribution.source.127.0.0.1"


@asynccontextmanager
async def connected(tmp_path: Path, config: Any = "") -> AsyncGenerator[Client]:
    with trio.fail_after(120):
        async with (
            running_daemon(tmp_path / "daemon", config) as daemon,
            daemon.client(namespace="default") as client,
        ):
            yield client


async def test_an_image_comes_whole_and_is_kept(
    tmp_path: Path, registry: Registry, layout: Path
) -> None:
    name = f"{registry.host}/library/single:latest"
    async with connected(tmp_path) as client:
        first = await pull(client, name, labels={"team": "a"})
        assert first.result.image.name == name
        assert first.result.image.labels == {"team": "a"}
        target = first.result.image.target
        assert target.digest == descriptor_of(layout, "single")["digest"]
        assert first.result.downloaded == first.result.size
        assert first.events("layer-")[-1] == "done"
        infos = (await client.content.list()).infos
        assert len(infos) == 3
        assert {info.labels[SOURCE] for info in infos} == {"library/single"}
        assert (await client.leases.list()).leases == []
        await client.gc.run(wait=True)
        await client.gc.run(wait=True)
        assert (await client.content.list()).infos == infos


async def test_a_second_namespace_moves_no_blob(
    tmp_path: Path, registry: Registry
) -> None:
    name = f"{registry.host}/library/many:latest"
    async with connected(tmp_path) as client:
        await pull(client, name)
        with call.using(namespace="other"):
            again = await pull(client, name)
        assert again.result.downloaded == 0
        # What is passed on the way is told when it is looked at just then.
        assert {one.event for one in again.last("layer-", "manifest-")} == {"exists"}
        seen = {one.event for one in again.items}
        assert not seen & {"downloading", "done"}
        await registry.told(2, '"HEAD ')
        await registry.told(22, '"GET ')  # of the first one


@pytest.mark.parametrize("architecture", ["amd64", "arm64", "arm"])
async def test_an_index_without_platforms_leaves_them_to_the_configurations(
    tmp_path: Path, registry: Registry, layout: Path, architecture: str
) -> None:
    name = f"{registry.host}/library/unstated:latest"
    platform = f"linux/{architecture}"
    async with connected(tmp_path) as client:
        pulled = await pull(client, name, platforms=[platform], unpack=True)
        wanted = descriptor_of(layout, f"for-{architecture}")["digest"]
        assert [one.manifest for one in pulled.result.snapshots] == [wanted]
        # Whoever reads it afterwards chooses the same one.
        made = await client.get(SPECS).generate(
            id="x", image=name, platform=platform, options=SpecOptions(args=["true"])
        )
        assert made.manifest == wanted
        with pytest.raises(NotFound, match="no match for platform linux/s390x"):
            await pull(client, name, platforms=["linux/s390x"])


async def test_what_was_pulled_for_one_platform_can_be_exported(
    tmp_path: Path, registry: Registry
) -> None:
    """Also where the machine would run another entry of the index, which is not here."""
    name = f"{registry.host}/library/multi:latest"
    async with connected(tmp_path) as client:
        await pull(client, name, platforms=["linux/arm64"])
        send, receive = trio.open_memory_channel[ExportItem](math.inf)
        done = await client.transfer.export(
            names=[name], platforms=["linux/arm64"], out=send
        )
        assert done.size > 300_000
        await receive.aclose()


async def test_two_pulls_at_once_share_the_download(
    tmp_path: Path, registry: Registry
) -> None:
    name = f"{registry.host}/library/many:latest"
    pulls: list[Pull] = []
    async with connected(tmp_path) as client:

        async def one(namespace: str) -> None:
            with call.using(namespace=namespace):
                pulls.append(await pull(client, name))

        async with trio.open_nursery() as nursery:
            for namespace in ("a", "a", "b"):
                nursery.start_soon(one, namespace)
        layers = 20
        await registry.told(layers + 1, '"GET /v2/library/many/blobs/')
        await registry.told(1, '"GET /v2/library/many/manifests/')
        (fetched,) = {one.result.image.target.digest for one in pulls}
        assert sum(one.result.downloaded for one in pulls) == pulls[0].result.size
        for namespace in ("a", "b"):
            with call.using(namespace=namespace):
                assert (await client.images.get(name=name)).target.digest == fetched
                assert len((await client.content.list()).infos) == layers + 2


async def test_of_an_index_comes_what_this_machine_runs(
    tmp_path: Path, registry: Registry, layout: Path
) -> None:
    name = f"{registry.host}/library/multi:latest"
    wanted = descriptor_of(layout, "for-arm64")["digest"]
    async with connected(tmp_path) as client:
        pulled = await pull(client, name, platforms=["linux/arm64/v8"])
        digests = {info.digest for info in (await client.content.list()).infos}
        assert wanted in digests
        assert len(digests) == 4  # index, manifest, configuration, layer
        assert pulled.result.image.target.digest in digests
        with pytest.raises(
            NotFound, match="linux/riscv64; it has linux/amd64, linux/ar"
        ):
            await pull(client, name, platforms=["linux/riscv64"])
        await pull(client, name, all_platforms=True)
        assert len((await client.content.list()).infos) == 8
        await client.gc.run(wait=True)
        assert len((await client.content.list()).infos) == 8


async def test_a_layer_may_be_compressed_with_zstd(
    tmp_path: Path, registry: Registry
) -> None:
    async with connected(tmp_path) as client:
        name = f"{registry.host}/library/zstd:latest"
        pulled = await pull(client, name, unpack=True, snapshotter="native")
        assert pulled.events("layer-")[-1] == "extracted"
        manifest = await client.content.read(digest=pulled.result.image.target.digest)
        assert b"tar+zstd" in manifest.data


async def test_a_digest_names_the_same_image(
    tmp_path: Path, registry: Registry, layout: Path
) -> None:
    digest = descriptor_of(layout, "single")["digest"]
    async with connected(tmp_path) as client:
        name = f"{registry.host}/library/single@{digest}"
        assert (await pull(client, name)).result.image.target.digest == digest


async def test_what_is_not_there_is_not_found(
    tmp_path: Path, registry: Registry
) -> None:
    async with connected(tmp_path) as client:
        with pytest.raises(NotFound, match=r"library/single:nope.* does not have it"):
            await pull(client, f"{registry.host}/library/single:nope")
        with pytest.raises(
            InvalidArgument, match=r"as in docker.io/library/busybox:latest"
        ):
            await pull(client, "busybox")
        assert (await client.leases.list()).leases == []


async def test_a_registry_that_is_away_is_unavailable(tmp_path: Path) -> None:
    config = {"plugins": {"pluggd.resolver.v1.registry": {"attempts": 2}}}
    async with connected(tmp_path, config) as client:
        with pytest.raises(Unavailable, match=r"127.0.0.1:1"):
            await pull(client, "127.0.0.1:1/library/x:latest")


async def test_without_an_unpack_plugin_nothing_is_fetched(
    tmp_path: Path, registry: Registry
) -> None:
    uris = [one.uri for one in discover([])]
    config = {
        "disabled_plugins": [one for one in uris if one.startswith("pluggd.unpack.v1.")]
    }
    async with connected(tmp_path, config) as client:
        with pytest.raises(Unavailable, match=r"no plugin provides pluggd.unpack.v1"):
            await pull(client, f"{registry.host}/library/single:latest", unpack=True)
        assert not registry.requests("GET")


async def test_an_image_is_unpacked_while_it_comes(
    tmp_path: Path, registry: Registry
) -> None:
    async with connected(tmp_path) as client:
        name = f"{registry.host}/library/many:latest"
        pulled = await pull(client, name, unpack=True, snapshotter="native")
        (snapshot,) = pulled.result.snapshots
        assert snapshot.manifest == pulled.result.image.target.digest
        assert snapshot.snapshotter == "native"
        assert "extracted" in pulled.events("layer-")
        await client.gc.run(wait=True)
        found = await client.get(SNAPSHOTS).stat(
            snapshotter="native", key=snapshot.chain_id
        )
        assert found.kind == "committed"


async def test_bars_fit_the_terminal_while_they_change(
    tmp_path: Path, registry: Registry
) -> None:
    """What has left the screen at the top cannot be drawn anew, and would pile up."""
    rows = 10
    name = f"{registry.host}/library/many:latest"
    with trio.fail_after(60):
        async with running_daemon(tmp_path / "daemon") as daemon:
            command = pluggctl(daemon, "images", "pull", "--no-unpack", name)
            async with at_terminal(command, rows=rows) as screen:
                assert await screen.ends() == 0
    *frames, last = re.split(r"(?:\r?\x1b\[2K|\x1b\[1A)+", screen.seen)
    assert max(frame.count("\n") for frame in frames) < rows
    assert len(re.findall(r"layer-sha256:\S+ +(?:done|exists)", last)) == 20
    assert "elapsed: " in last
