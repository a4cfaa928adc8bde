# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Layers that a registry may not serve: they come from where their manifest says."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import trio

from pluggd.client import Client
from pluggd.errors import DataLoss, NotFound
from pluggd.model.types import Descriptor
from pluggd.services.resolver import Access
from pluggd.services.transfer import Progress
from pluggd.testing import running_daemon
from plugins.registry.config import Config
from plugins.registry.credentials import Sources
from plugins.registry.resolver import RegistryResolver
from tests.plugins.registry.registry_kit import (
    Answer,
    Asked,
    Handler,
    SmallImage,
    digest,
    pull,
    scripted,
)

FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar"
LAYER = bytes(range(256)) * 4000


@pytest.fixture
async def client(tmp_path: Path) -> AsyncGenerator[Client]:
    options = {"pluggd.resolver.v1.registry": {"attempts": 2}}
    with trio.fail_after(120):
        async with (
            running_daemon(tmp_path, {"plugins": options}) as daemon,
            daemon.client(namespace="ns") as client,
        ):
            yield client


def foreign(*urls: str) -> SmallImage:
    return SmallImage(layer=LAYER, layer_type=FOREIGN, urls=urls)


def without_layer(image: SmallImage) -> Handler:
    """The registry, which does not have it."""

    def answer(asked: Asked) -> Answer:
        missing = asked.target == image.layer_path
        return Answer(404) if missing else image.answer(asked)

    return answer


async def test_what_the_registry_has_not_comes_from_the_first_url_that_has_it(
    client: Client,
) -> None:
    broken = False

    def elsewhere(asked: Asked) -> Answer:
        nonlocal broken
        if asked.target != "/a/layer?key=1":
            return Answer(403)
        start = asked.headers.get("range", "").removeprefix("bytes=").rstrip("-")
        if start:
            ranged = f"bytes {start}-{len(LAYER) - 1}/{len(LAYER)}"
            return Answer(206, {"Content-Range": ranged}, LAYER[int(start) :])
        broken = True
        return Answer(body=LAYER, stop=600_000)

    async with scripted(elsewhere) as other:
        at = f"http://{other.host}"
        image = foreign("ftp://x/y", f"{at}/no", f"{at}/a/layer?key=1")
        async with scripted(without_layer(image)) as server:
            name = f"{server.host}/library/x:latest"
            login = {"username": "u", "password": "secret"}
            assert (await pull(client, name, **login)).result.downloaded > len(LAYER)
    assert broken
    assert (await client.content.verify(digest=digest(LAYER))).size == len(LAYER)
    assert other.asked[-1].headers["range"] == "bytes=600000-"
    assert all("authorization" not in one.headers for one in other.asked)


async def test_the_registry_is_asked_first(client: Client) -> None:
    async with scripted(lambda _: Answer(404)) as other:
        image = foreign(f"http://{other.host}/layer")
        async with scripted(image.answer) as server:
            await pull(client, f"{server.host}/library/x:latest")
    assert other.asked == []


async def test_where_no_url_helps_each_is_told(client: Client) -> None:
    async with scripted(lambda _: Answer(410)) as other:
        image = foreign(
            "/etc/passwd", f"http://u:p@{other.host}/x", f"http://{other.host}/secret"
        )
        async with scripted(without_layer(image)) as server:
            with pytest.raises(NotFound) as caught:
                await pull(client, f"{server.host}/library/x:latest")
    text = caught.value.message
    assert f"{server.host} does not have it" in text
    assert '"/etc/passwd" is no http address' in text
    assert "127.0.0.1 answered 410" in text
    assert "secret" not in text  # an address may hold a key
    assert len(other.asked) == 1


async def test_a_url_that_lies_is_named(client: Client) -> None:
    async with scripted(lambda _: Answer(body=b"short")) as other:
        image = foreign(f"http://localhost:{other.host.partition(':')[2]}/layer")
        async with scripted(without_layer(image)) as server:
            with pytest.raises(DataLoss, match="localhost has not 1024000 bytes"):
                await pull(client, f"{server.host}/library/x:latest")


async def test_a_url_does_not_lead_further_inside_than_the_registry() -> None:
    async def look(host: str) -> list[str]:
        return ["93.184.216.34"]  # as if it were outside

    async with scripted(lambda _: Answer(body=LAYER)) as inner:
        image = foreign(f"http://{inner.host}/layer")
        async with scripted(without_layer(image)) as server:
            resolver = RegistryResolver(
                Config(docker_config=""),
                Sources({}, {}, ""),
                logging.LoggerAdapter(logging.getLogger("test")),
                look,
            )
            name = f"{server.host}/library/x:latest".replace("127.0.0.1", "localhost")
            layer = Descriptor(digest=digest(LAYER), size=len(LAYER))
            async with resolver.open(name, Access()) as remote:
                with pytest.raises(
                    NotFound, match=r"url of a layer leads to 127\.0\.0"
                ):
                    async for _ in remote.blob(layer, urls=image.urls):
                        pass
        assert inner.asked == []


async def test_a_push_says_what_it_leaves_out(client: Client) -> None:
    image = foreign()
    async with scripted(image.answer) as server:
        name = f"{server.host}/library/x:latest"
        await pull(client, name)
        send, receive = trio.open_memory_channel[Progress](float("inf"))
        await client.transfer.push(name=name, progress=send)
        await send.aclose()
    skipped = [item async for item in receive if item.event == "skipped"]
    assert [one.name for one in skipped] == [f"layer-{digest(LAYER)}"]
    assert not any(line.startswith("POST") for line in server.lines())
