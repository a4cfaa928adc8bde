# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A registry that does not send what it says is caught, and nothing of it is kept."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from pluggd.client import Client
from pluggd.errors import (
    DataLoss,
    InvalidArgument,
    NotImplemented_,
    PluggdError,
    ResourceExhausted,
)
from pluggd.testing import RunningDaemon, running_daemon
from tests.plugins.registry.registry_kit import (
    Answer,
    Asked,
    Handler,
    SmallImage,
    digest,
    kept,
    pull,
    scripted,
)

CONFIG = {"plugins": {"pluggd.resolver.v1.registry": {"attempts": 2}}}


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncGenerator[RunningDaemon]:
    async with running_daemon(tmp_path / "daemon", CONFIG) as running:
        yield running


@asynccontextmanager
async def refused(
    daemon: RunningDaemon, handler: Handler, error: type[PluggdError], match: str
) -> AsyncGenerator[Client]:
    """Pull from a registry with these answers; it fails so, and leaves nothing."""
    root = daemon.log_file.parent / "root"
    with trio.fail_after(120):
        async with scripted(handler) as server, daemon.client(namespace="ns") as client:
            with pytest.raises(error, match=match):
                await pull(client, f"{server.host}/library/x:latest")
            assert (await client.images.list()).images == []
            assert (await client.leases.list()).leases == []
            assert (await client.content.list_statuses()).statuses == []
            await client.gc.run(wait=True)
            await client.gc.run(wait=True)
            assert kept(root) == set()
            yield client


async def test_a_layer_of_another_digest(daemon: RunningDaemon) -> None:
    image = SmallImage()
    other = bytes(len(image.layer))

    def answer(asked: Asked) -> Answer:
        found = image.answer(asked)
        return Answer(body=other) if asked.target == image.layer_path else found

    async with refused(daemon, answer, DataLoss, "sent other bytes than sha256"):
        pass


async def test_a_layer_of_another_size(daemon: RunningDaemon) -> None:
    image = SmallImage(layer_size=100_000)
    async with refused(daemon, image.answer, DataLoss, "has not 100000 bytes"):
        pass


async def test_a_layer_that_ends_early_without_a_length(daemon: RunningDaemon) -> None:
    """Nothing but the manifest says how long it should be."""
    image = SmallImage()

    def answer(asked: Asked) -> Answer:
        if asked.target == image.layer_path:
            return Answer(body=image.layer[:100], sized=False)
        return image.answer(asked)

    async with refused(daemon, answer, DataLoss, "has not 30000 bytes"):
        pass


async def test_a_layer_without_an_end(daemon: RunningDaemon) -> None:
    image = SmallImage()

    def answer(asked: Asked) -> Answer:
        if asked.target == image.layer_path:
            return Answer(endless=True)
        return image.answer(asked)

    async with refused(daemon, answer, DataLoss, "has not 30000 bytes"):
        pass


async def test_a_manifest_without_an_end(daemon: RunningDaemon) -> None:
    def answer(asked: Asked) -> Answer:
        return Answer(405) if asked.method == "HEAD" else Answer(endless=True)

    async with refused(daemon, answer, ResourceExhausted, "max_manifest"):
        pass


async def test_a_manifest_that_says_to_be_huge(daemon: RunningDaemon) -> None:
    image = SmallImage()

    def answer(asked: Asked) -> Answer:
        found = image.answer(asked)
        if asked.method == "HEAD":
            found.length = 1 << 40
        return found

    async with refused(daemon, answer, ResourceExhausted, "max_manifest"):
        pass


async def test_a_manifest_of_another_digest(daemon: RunningDaemon) -> None:
    image = SmallImage()

    def answer(asked: Asked) -> Answer:
        found = image.answer(asked)
        if asked.method == "GET" and "/manifests/" in asked.target:
            found.body = b" " * len(found.body)
        return found

    async with refused(daemon, answer, DataLoss, "sent another manifest than"):
        pass


async def test_a_digest_that_resolves_to_another(daemon: RunningDaemon) -> None:
    image = SmallImage()
    wanted = f"sha256:{'a' * 64}"

    def answer(asked: Asked) -> Answer:
        asked.target = asked.target.replace(wanted, "latest")
        return image.answer(asked)

    async with (
        scripted(answer) as server,
        daemon.client(namespace="ns") as client,
    ):
        with pytest.raises(DataLoss, match=f"when asked for {wanted}"):
            await pull(client, f"{server.host}/library/x@{wanted}")


async def test_a_manifest_that_is_an_index_too(daemon: RunningDaemon) -> None:
    image = SmallImage()
    image.manifest = json.dumps(
        {**json.loads(image.manifest), "manifests": []}
    ).encode()
    async with refused(daemon, image.answer, InvalidArgument, "holds manifests"):
        pass


async def test_indexes_in_indexes_without_an_end(daemon: RunningDaemon) -> None:
    media_type = "application/vnd.oci.image.index.v1+json"
    documents: dict[str, bytes] = {}
    inner = {"mediaType": media_type, "digest": f"sha256:{'0' * 64}", "size": 2}
    for _ in range(10):
        data = json.dumps({"schemaVersion": 2, "manifests": [inner]}).encode()
        documents[digest(data)] = data
        inner = {"mediaType": media_type, "digest": digest(data), "size": len(data)}
    outermost = str(inner["digest"])

    def answer(asked: Asked) -> Answer:
        name = asked.target.rpartition("/")[2]
        name = outermost if name == "latest" else name
        headers = {"Content-Type": media_type, "Docker-Content-Digest": name}
        return Answer(headers=headers, body=documents[name])

    async with refused(daemon, answer, ResourceExhausted, "indexes within more than"):
        pass


async def test_schema_1_is_refused_by_name(daemon: RunningDaemon) -> None:
    image = SmallImage(
        media_type="application/vnd.docker.distribution.manifest.v1+prettyjws"
    )
    async with refused(daemon, image.answer, NotImplemented_, "is a schema 1 manifest"):
        pass


async def test_schema_1_under_another_type_is_refused_too(
    daemon: RunningDaemon,
) -> None:
    image = SmallImage()
    image.manifest = b'{"schemaVersion": 1, "fsLayers": []}'
    async with refused(
        daemon, image.answer, InvalidArgument, "schema 1 manifests are not supported"
    ):
        pass


async def test_a_range_that_was_not_asked_for(daemon: RunningDaemon) -> None:
    image = SmallImage(layer=b"x" * 600_000)

    def answer(asked: Asked) -> Answer:
        found = image.answer(asked)
        if asked.target == image.layer_path:
            if "range" not in asked.headers:
                found.stop = 300_000
            else:
                found.headers["Content-Range"] = "bytes 0-299999/600000"
        return found

    async with refused(daemon, answer, DataLoss, "sent another part"):
        pass


async def test_a_resumed_download_that_does_not_fit_begins_anew_once(
    daemon: RunningDaemon,
) -> None:
    """The bytes of yesterday were bad, those of today are good."""
    image = SmallImage()
    good = False

    def answer(asked: Asked) -> Answer:
        found = image.answer(asked)
        if asked.target == image.layer_path and not good:
            return Answer(body=bytes(len(image.layer)), stop=10_000)
        return found

    with trio.fail_after(120):
        async with scripted(answer) as server, daemon.client(namespace="ns") as client:
            name = f"{server.host}/library/x:latest"
            with pytest.raises(PluggdError, match="broke off"):
                await pull(client, name)
            (left,) = (await client.content.list_statuses()).statuses
            assert left.offset > 0
            good = True
            await pull(client, name)
            info = await client.content.verify(digest=digest(image.layer))
            assert info.size == len(image.layer)
