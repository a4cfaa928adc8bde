# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""TLS, mirrors and pushes, with real registries."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from pluggd.client import Client
from pluggd.errors import (
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unavailable,
)
from pluggd.model.record import convert
from pluggd.testing import running_daemon
from plugins.registry.config import Config
from tests.plugins.registry.registry_kit import (
    Answer,
    Asked,
    Registry,
    SmallImage,
    descriptor_of,
    docker_registry,
    needs_registry,
    pluggctl,
    pull,
    push,
    run,
    scripted,
)

pytestmark = [needs_registry, pytest.mark.slow]


@asynccontextmanager
async def connected(tmp_path: Path) -> AsyncGenerator[Client]:
    resolver = {"hosts_dir": str(tmp_path / "hosts.d"), "docker_config": ""}
    config = {"plugins": {"pluggd.resolver.v1.registry": resolver}}
    with trio.fail_after(120):
        async with (
            running_daemon(tmp_path / "daemon", config) as daemon,
            daemon.client(namespace="default") as client,
        ):
            yield client


def hosts(tmp_path: Path, host: str, text: str) -> None:
    directory = tmp_path / "hosts.d" / host
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "hosts.toml").write_text(text)


def certificates(directory: Path) -> None:
    """`ca.crt`, and `tls.crt` with `tls.key` for 127.0.0.1, signed by it."""

    def openssl(*words: str) -> None:
        run("openssl", *words, cwd=directory)

    openssl(
        *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
        *("-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=CA of the tests"),
        *("-addext", "keyUsage=critical,keyCertSign"),  # Python 3.13 asks for it
    )
    openssl(
        *("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "tls.key"),
        *("-out", "tls.csr", "-subj", "/CN=127.0.0.1"),
    )
    (directory / "names").write_text(
        "subjectAltName=IP:127.0.0.1\nauthorityKeyIdentifier=keyid\n"
    )
    openssl(
        *("x509", "-req", "-in", "tls.csr", "-CA", "ca.crt", "-CAkey", "ca.key"),
        *("-days", "2", "-extfile", "names", "-out", "tls.crt"),
    )


async def test_a_certificate_is_verified_with_the_ca_of_hosts_toml(
    tmp_path: Path, storage: Path
) -> None:
    certificates(tmp_path)
    http = f"  tls: {{certificate: {tmp_path}/tls.crt, key: {tmp_path}/tls.key}}"
    with docker_registry(storage, http=http) as registry:
        name = f"{registry.host}/library/single:latest"
        own = f'server = "https://{registry.host}"\n'
        async with connected(tmp_path) as client:
            with pytest.raises(
                Unavailable, match=r"answered 400.*name it with https://"
            ):
                await pull(client, name)
            hosts(tmp_path, registry.host, own)
            with pytest.raises(Unavailable, match="certificate verify failed"):
                await pull(client, name)
            # Read anew for each pull: the same daemon, another file.
            hosts(tmp_path, registry.host, f'{own}ca = "{tmp_path}/ca.crt"\n')
            await pull(client, name)
            hosts(tmp_path, registry.host, f"{own}skip_verify = true\n")
            await pull(client, name)
            # As Docker has it: no hosts.toml, certificates beside each other.
            directory = tmp_path / "hosts.d" / registry.host
            (directory / "hosts.toml").unlink()
            (directory / "ca.crt").write_text((tmp_path / "ca.crt").read_text())
            assert (await pull(client, name)).result.downloaded == 0


async def test_a_mirror_is_asked_first_and_the_registry_when_it_fails(
    tmp_path: Path, registry: Registry
) -> None:
    image = SmallImage()
    well = True

    def answer(asked: Asked) -> Answer:
        return image.answer(asked) if well else Answer(503)

    async with connected(tmp_path) as client, scripted(answer) as mirror:
        name = f"{registry.host}/library/x:latest"
        hosts(tmp_path, registry.host, f'[host."http://{mirror.host}"]\n')
        pulled = await pull(client, name)
        assert pulled.result.image.name == name
        assert {one.rpartition("?")[2] for one in mirror.lines()} == {
            f"ns={registry.host}"
        }
        assert registry.requests("library/x") == []
        well = False
        single = f"{registry.host}/library/single:latest"
        assert (await pull(client, single)).events("layer-")[-1] == "done"
        hosts(tmp_path, registry.host, '[host."http://127.0.0.1:1"]\n')
        assert (await pull(client, single)).result.downloaded == 0
        with pytest.raises(NotFound):
            await pull(client, name)


async def test_a_mirror_that_lies_is_found_out(
    tmp_path: Path, registry: Registry
) -> None:
    image = SmallImage()

    def answer(asked: Asked) -> Answer:
        found = image.answer(asked)
        if asked.method == "GET" and "/manifests/" in asked.target:
            return Answer(body=b"{}", headers=found.headers)
        return found

    async with connected(tmp_path) as client, scripted(answer) as mirror:
        hosts(tmp_path, registry.host, f'[host."http://{mirror.host}"]\n')
        with pytest.raises((DataLoss, NotFound)):
            await pull(client, f"{registry.host}/library/x:latest")
        assert (await client.images.list()).images == []


async def test_what_is_pushed_can_be_pulled_by_others(
    tmp_path: Path, registry: Registry, layout: Path
) -> None:
    wanted = descriptor_of(layout, "multi")["digest"]
    async with connected(tmp_path) as client:
        source = f"{registry.host}/library/multi:latest"
        await pull(client, source)
        target = f"{registry.host}/copies/multi:v1"
        with pytest.raises(FailedPrecondition, match="pull it for all platforms, or"):
            await push(client, target, source=source)
        one = await push(client, target, source=source, platform="linux/amd64")
        manifest = descriptor_of(layout, "for-amd64")["digest"]
        assert one.target.digest == manifest
        await pull(client, source, all_platforms=True)
        all_ = await push(client, target, source=source)
        assert all_.target.digest == wanted
        assert 0 < all_.uploaded < all_.size
        # The registry took the blobs from its own repository.
        await registry.logged("mount=", "201")
        assert (await push(client, target, source=source)).uploaded == 0
    out = tmp_path / "out"
    run(
        *("skopeo", "copy", "--quiet", "--all", "--src-tls-verify=false"),
        *(f"docker://{registry.host}/copies/multi:v1", f"oci:{out}:v1"),
    )
    assert descriptor_of(out, "v1")["digest"] == wanted


async def test_a_push_brings_every_byte_to_an_empty_registry(
    tmp_path: Path, registry: Registry, layout: Path
) -> None:
    wanted = descriptor_of(layout, "many")["digest"]
    with docker_registry(tmp_path / "empty") as empty:
        async with connected(tmp_path) as client:
            source = f"{registry.host}/library/many:latest"
            await pull(client, source)
            pushed = await push(client, f"{empty.host}/a/b:c", source=source)
            assert pushed.uploaded == pushed.size
        out = tmp_path / "out"
        run(
            *("skopeo", "copy", "--quiet", "--src-tls-verify=false"),
            *(f"docker://{empty.host}/a/b:c", f"oci:{out}:c"),
        )
        assert descriptor_of(out, "c")["digest"] == wanted


async def test_a_directory_of_hosts_is_an_absolute_one_that_is_there(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{registry.host}/library/single:latest"
    mirror = "localhost:1/library/single:latest"
    hosts(tmp_path, "localhost:1", f'[host."http://{registry.host}"]\n')
    async with (
        running_daemon(tmp_path / "daemon") as daemon,
        daemon.client(namespace="default") as client,
    ):
        with pytest.raises(
            InvalidArgument, match=r"hosts_dir.*must be an absolute path"
        ):
            await pull(client, name, hosts_dir="hosts.d")
        with pytest.raises(InvalidArgument, match="the daemon sees no such directory"):
            await pull(client, name, hosts_dir=str(tmp_path / "hosts"))
        # The caller's own, wherever the daemon was started.
        monkeypatch.chdir(tmp_path)
        command = pluggctl(daemon, "images", "pull", "--hosts-dir", "hosts.d", mirror)
        done = await trio.run_process(command, check=False, capture_stderr=True)
        assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    "options",
    [
        {"hosts_dir": "hosts.d"},
        {"docker_config": "config.json"},
        {"logins": {"registry.example": {"secret_file": "secret"}}},
    ],
)
def test_a_path_that_starts_anywhere_is_a_mistake(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match="must be an absolute path"):
        convert(options, Config)
