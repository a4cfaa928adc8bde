# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Connections break, registries are busy, daemons stop: a pull gets there all the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from pluggd.errors import Unavailable
from pluggd.services import call
from pluggd.testing import running_daemon
from tests.plugins.registry.registry_kit import (
    Answer,
    Asked,
    Pull,
    SmallImage,
    digest,
    pull,
    scripted,
)


async def test_a_download_goes_on_where_the_connection_broke(tmp_path: Path) -> None:
    image = SmallImage(layer=bytes(range(256)) * 8000)
    broken = 0

    def answer(asked: Asked) -> Answer:
        nonlocal broken
        found = image.answer(asked)
        if asked.target == image.layer_path and broken < 3:
            broken += 1
            found.stop = len(found.body) // 2
        return found

    with trio.fail_after(120):
        async with (
            scripted(answer) as server,
            running_daemon(tmp_path) as daemon,
            daemon.client(namespace="ns") as client,
        ):
            await pull(client, f"{server.host}/library/x:latest")
            info = await client.content.verify(digest=digest(image.layer))
            assert info.size == len(image.layer)
            size, ranges, start = len(image.layer), list[str](), 0
            for _ in range(3):
                start += (size - start) // 2
                ranges.append(f"bytes={start}-")
            asked = [one for one in server.asked if one.target == image.layer_path]
            assert [one.headers.get("range") for one in asked] == [None, *ranges]


async def test_a_server_without_ranges_sends_all_again(tmp_path: Path) -> None:
    image = SmallImage(layer=b"0123456789" * 40_000)
    broken = False

    def answer(asked: Asked) -> Answer:
        nonlocal broken
        asked.headers.pop("range", None)
        found = image.answer(asked)
        if asked.target == image.layer_path and not broken:
            broken = True
            found.stop = 300_003
        return found

    with trio.fail_after(120):
        async with (
            scripted(answer) as server,
            running_daemon(tmp_path) as daemon,
            daemon.client(namespace="ns") as client,
        ):
            await pull(client, f"{server.host}/library/x:latest")
            info = await client.content.verify(digest=digest(image.layer))
            assert info.size == len(image.layer)


async def test_a_busy_registry_is_asked_again_when_it_says(tmp_path: Path) -> None:
    image = SmallImage()
    busy = [Answer(429, {"Retry-After": "0"}), Answer(503), Answer(500)]

    def answer(asked: Asked) -> Answer:
        return busy.pop() if busy else image.answer(asked)

    with trio.fail_after(120):
        async with (
            scripted(answer) as server,
            running_daemon(tmp_path) as daemon,
            daemon.client(namespace="ns") as client,
        ):
            await pull(client, f"{server.host}/library/x:latest")
            assert server.lines()[:4] == ["HEAD /v2/library/x/manifests/latest"] * 4


async def test_a_registry_that_wants_to_rest_for_long_ends_the_pull(
    tmp_path: Path,
) -> None:
    def answer(_: Asked) -> Answer:
        body = b'{"errors": [{"code": "TOOMANYREQUESTS", "message": "slow down"}]}'
        return Answer(429, {"Retry-After": "3600"}, body)

    with trio.fail_after(120):
        async with (
            scripted(answer) as server,
            running_daemon(tmp_path) as daemon,
            daemon.client(namespace="ns") as client,
        ):
            with pytest.raises(Unavailable, match=r"to come back in 3600 s .max_wait"):
                await pull(client, f"{server.host}/library/x:latest")
            assert len(server.asked) == 1


async def test_who_waits_for_a_download_takes_it_over_when_it_is_cancelled(
    tmp_path: Path,
) -> None:
    image = SmallImage()
    first, waiting = trio.Event(), trio.CancelScope()

    async def answer(asked: Asked) -> Answer:
        if asked.target == image.layer_path and not first.is_set():
            first.set()
            await trio.sleep_forever()
        return image.answer(asked)

    pulls: list[Pull] = []
    with trio.fail_after(120):
        async with (
            scripted(answer) as server,
            running_daemon(tmp_path) as daemon,
            daemon.client(namespace="a") as one,
            daemon.client(namespace="b") as two,
            trio.open_nursery() as nursery,
        ):
            name = f"{server.host}/library/x:latest"

            async def lead() -> None:
                with waiting:
                    await pull(one, name)

            async def follow() -> None:
                pulls.append(await pull(two, name))

            nursery.start_soon(lead)
            await first.wait()
            nursery.start_soon(follow)
            with call.using(namespace="b"):
                while not (await two.transfer.status()).transfers:
                    await trio.lowlevel.checkpoint()
            waiting.cancel()
            while not pulls:
                await trio.lowlevel.checkpoint()
            blobs = [one.target for one in server.asked if "/blobs/" in one.target]
            assert blobs.count(image.layer_path) == 2
            assert (await one.images.list()).images == []
            assert len((await two.images.list()).images) == 1


@pytest.mark.parametrize("end", ["given up", "cancelled"])
async def test_what_came_of_a_pull_that_did_not_end_is_kept_for_the_next(
    tmp_path: Path, end: str
) -> None:
    """Also through collections; of several tries, there is one lease; a success lets go."""
    image = SmallImage(layer=bytes(range(256)) * 4000)
    broken, hangs = True, trio.Event()

    async def answer(asked: Asked) -> Answer:
        found = image.answer(asked)
        if asked.target == image.layer_path and broken:
            if "range" in asked.headers:
                hangs.set()
                await trio.sleep_forever()
            found.stop = 600_000
        return found

    attempts = 1 if end == "given up" else 5
    options = {"pluggd.resolver.v1.registry": {"attempts": attempts}}
    with trio.fail_after(120):
        async with (
            scripted(answer) as server,
            running_daemon(tmp_path, {"plugins": options}) as daemon,
            daemon.client(namespace="ns") as client,
        ):
            name = f"{server.host}/library/x:latest"
            if end == "given up":
                with pytest.raises(Unavailable, match="broke off"):
                    await pull(client, name)
            else:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(pull, client, name)
                    await hangs.wait()
                    nursery.cancel_scope.cancel()
                while (await client.transfer.status()).transfers:
                    await trio.lowlevel.checkpoint()
            await client.gc.run(wait=True)
            # The configuration comes beside the layer, and may not have ended either.
            left = (await client.content.list_statuses()).statuses
            assert 600_000 in [one.offset for one in left]
            (lease,) = (await client.leases.list()).leases
            held = (await client.leases.list_resources(id=lease.id)).resources
            assert {(one.type, one.id) for one in held} == {
                ("ingests", one.ref) for one in left
            }
            assert (await client.content.list()).infos == []
            broken = False
            assert (await pull(client, name)).result.downloaded
            layer = [one for one in server.asked if one.target == image.layer_path]
            assert len(layer) == (2 if end == "given up" else 3)
            assert layer[-1].headers["range"] == "bytes=600000-"
            assert (await client.leases.list()).leases == []
            assert (await client.content.list_statuses()).statuses == []
