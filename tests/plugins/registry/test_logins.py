# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Registries that ask who is there, and what is never told to anybody else."""

from __future__ import annotations

import base64
import json
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import trio

from pluggd.errors import (
    DataLoss,
    FailedPrecondition,
    PermissionDenied,
    Unauthenticated,
)
from pluggd.services.resolver import Access
from pluggd.testing import running_daemon
from plugins.registry.config import Config
from plugins.registry.credentials import Sources
from plugins.registry.resolver import RegistryResolver
from tests.plugins.registry.registry_kit import (
    HTPASSWD,
    PASSWORD,
    USER,
    Answer,
    Asked,
    SmallImage,
    digest,
    docker_registry,
    needs_registry,
    pluggctl,
    pull,
    run,
    scripted,
)
from tests.plugins.tasks.screen import at_terminal

BASIC = f"Basic {base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"


def htpasswd(directory: Path) -> str:
    file = directory / "htpasswd"
    file.write_text(HTPASSWD)
    return f"auth: {{htpasswd: {{realm: tests, path: {file}}}}}"


@needs_registry
async def test_a_person_is_asked_for_a_password(tmp_path: Path, storage: Path) -> None:
    with (
        docker_registry(storage, htpasswd(tmp_path)) as registry,
        trio.fail_after(60),
    ):
        name = f"{registry.host}/library/single:latest"
        async with running_daemon(tmp_path / "daemon") as daemon:
            command = pluggctl(daemon, "images", "pull", "-u", USER, name)
            async with at_terminal(command) as screen:
                await screen.shows(f"Password of {USER}: ")
                screen.type("\x04")  # the end of what there is to type
                assert await screen.ends() == 2
                assert "no password was given" in screen.seen
                assert "Traceback" not in screen.seen
            async with at_terminal(command) as screen:
                await screen.shows(f"Password of {USER}: ")
                screen.type(f"{PASSWORD}\r")
                assert await screen.ends() == 0
                assert PASSWORD not in screen.seen


@needs_registry
@pytest.mark.slow
async def test_basic_from_every_place_where_credentials_are_found(
    tmp_path: Path, storage: Path
) -> None:
    examples = Path(__file__).parents[3] / "docs/examples/credentials.py"
    plugin_dir = tmp_path / "plugins"
    plugin_dir.mkdir()
    (plugin_dir / "vault.py").write_text(examples.read_text())
    helper = tmp_path / "docker-credential-tests"
    answer = json.dumps({"ServerURL": "x", "Username": USER, "Secret": PASSWORD})
    helper.write_text(f"#!/bin/sh\ncat > {tmp_path}/helped\necho '{answer}'\n")
    helper.chmod(0o755)
    secret = tmp_path / "secret"
    secret.write_text(f"{PASSWORD}\n")
    docker = tmp_path / "docker.json"
    vault = tmp_path / "vault"
    with docker_registry(storage, htpasswd(tmp_path)) as registry:
        name = f"{registry.host}/library/single:latest"
        auth = {"auth": base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}
        helpers = {"credHelpers": {registry.host: f"../{tmp_path.name}"}}
        logins = {registry.host: {"username": USER, "secret_file": str(secret)}}

        async def pulled(resolver: object, **options: str) -> None:
            config = {
                "plugin_dirs": [str(plugin_dir)],
                "plugins": {
                    "pluggd.resolver.v1.registry": resolver,
                    "pluggd.credentials.v1.vault": {"file": str(vault)},
                },
            }
            with trio.fail_after(120):
                async with (
                    running_daemon(tmp_path / "daemon", config) as daemon,
                    daemon.client(namespace="ns") as client,
                ):
                    try:
                        await pull(client, name, **options)
                    finally:
                        assert PASSWORD not in daemon.log_text
                        assert auth["auth"] not in daemon.log_text

        vault.write_text("")
        nowhere = {"docker_config": ""}
        with pytest.raises(Unauthenticated, match="there are no credentials for it"):
            await pulled(nowhere)
        with pytest.raises(Unauthenticated, match="401: it does not accept this login"):
            await pulled(nowhere, username=USER, password="wrong")
        await pulled(nowhere, username=USER, password=PASSWORD)
        await pulled({"docker_config": "", "logins": logins})
        docker.write_text(json.dumps({"auths": {f"https://{registry.host}/v1/": auth}}))
        await pulled({"docker_config": str(docker)})
        docker.write_text(json.dumps(helpers))
        with pytest.raises(FailedPrecondition, match="must be the end of a name"):
            await pulled({"docker_config": str(docker)})
        vault.write_text(f"other x y\n{registry.host} {USER} {PASSWORD}\n")
        await pulled(nowhere)


async def test_a_credential_helper_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    helper = tmp_path / "docker-credential-tests"
    docker = tmp_path / "docker.json"
    docker.write_text(json.dumps({"credsStore": "tests"}))
    sources = Sources({}, {}, str(docker))

    def helps(script: str) -> None:
        helper.write_text(f"#!/bin/sh\n{script}\n")
        helper.chmod(0o755)

    helps("""read host; echo "{\\"Username\\": \\"u\\", \\"Secret\\": \\"$host\\"}" """)
    found = await sources.find("docker.io")
    assert found is not None
    assert (found.username, found.password) == ("u", "https://index.docker.io/v1/")
    assert "https" not in repr(found)
    helps("""echo '{"Username": "<token>", "Secret": "s"}'""")
    found = await sources.find("r.example")
    assert found is not None
    assert found.identity_token == "s"
    helps("echo credentials not found in native keychain; exit 1")
    assert await sources.find("r.example") is None
    helps("echo the password is x; exit 3")
    with pytest.raises(FailedPrecondition, match=r"exit code 3: failed") as caught:
        await sources.find("r.example")
    assert "password" not in caught.value.message
    helper.unlink()
    with pytest.raises(FailedPrecondition, match="is not installed"):
        await sources.find("r.example")


# --- bearer tokens


def signed_token(key: Path, certificate: Path, claims: Mapping[str, object]) -> str:
    """A JSON web token as docker-registry wants it: RS256 with the certificate in it."""

    def packed(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    lines = certificate.read_text().splitlines()
    header = {"typ": "JWT", "alg": "RS256", "x5c": ["".join(lines[1:-1])]}
    signed = ".".join(packed(json.dumps(part).encode()) for part in (header, claims))
    file = key.parent / "signed"
    file.write_text(signed)
    run(
        "openssl",
        "dgst",
        "-sha256",
        "-sign",
        str(key),
        "-out",
        f"{file}.sig",
        str(file),
    )
    return f"{signed}.{packed(Path(f'{file}.sig').read_bytes())}"


@needs_registry
@pytest.mark.slow
async def test_a_token_server_gives_tokens_for_what_is_needed(
    tmp_path: Path, storage: Path
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    run(
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
        *("-keyout", str(key), "-out", str(certificate), "-subj", "/CN=tokens"),
    )

    def answer(asked: Asked) -> Answer:
        if asked.headers.get("authorization") not in (None, BASIC):
            return Answer(401)
        claims = {
            "iss": "tests",
            "aud": "registry",
            "sub": USER,
            "exp": int(time.time()) + 60,
            "nbf": int(time.time()) - 60,
            "iat": int(time.time()),
            "jti": "1",
            "access": [
                {
                    "type": "repository",
                    "name": "library/single",
                    "actions": ["pull"],
                }
            ],
        }
        token = signed_token(key, certificate, claims)
        return Answer(body=json.dumps({"token": token}).encode())

    with trio.fail_after(120):
        async with scripted(answer) as tokens:
            auth = f"""\
auth:
  token:
    realm: http://{tokens.host}/token
    service: registry
    issuer: tests
    rootcertbundle: {certificate}
"""
            with docker_registry(storage, auth) as registry:
                name = f"{registry.host}/library/single:latest"
                async with (
                    running_daemon(tmp_path / "daemon") as daemon,
                    daemon.client(namespace="ns") as client,
                ):
                    await pull(client, name)
                    (asked,) = tokens.asked
                    assert asked.target == (
                        "/token?service=registry&scope=repository%3Alibrary%2Fsingle%3Apull"
                    )
                    assert "authorization" not in asked.headers
                    await pull(client, name, username=USER, password=PASSWORD)
                    assert tokens.asked[1].headers["authorization"] == BASIC
                    with pytest.raises(Unauthenticated, match="refuses these cred"):
                        await pull(client, name, username=USER, password="wrong")
                    with pytest.raises(Unauthenticated, match="answered 401"):
                        await pull(client, name.replace("single", "many"))
                    assert PASSWORD not in daemon.log_text


async def test_an_identity_token_is_changed_for_an_access_token(tmp_path: Path) -> None:
    image = SmallImage()

    def answer(asked: Asked) -> Answer:
        if asked.target == "/token":
            assert b"refresh_token=identity" in asked.body
            assert b"grant_type=refresh_token" in asked.body
            return Answer(body=b'{"access_token": "fresh"}')
        if asked.headers.get("authorization") != "Bearer fresh":
            realm = f'Bearer realm="http://{server.host}/token",service="s"'
            return Answer(401, {"WWW-Authenticate": realm})
        return image.answer(asked)

    with trio.fail_after(120):
        async with (
            scripted(answer) as server,
            running_daemon(tmp_path) as daemon,
            daemon.client(namespace="ns") as client,
        ):
            await pull(client, f"{server.host}/library/x:latest", password="identity")
            assert server.lines().count("POST /token") == 1


async def test_a_token_that_ends_meanwhile_is_made_anew(tmp_path: Path) -> None:
    image, made = SmallImage(), 0

    def answer(asked: Asked) -> Answer:
        nonlocal made
        if asked.target.startswith("/token"):
            made += 1
            return Answer(body=json.dumps({"token": f"number-{made}"}).encode())
        wanted = "number-2" if "/blobs/" in asked.target else "number-1"
        if asked.headers.get("authorization") != f"Bearer {wanted}":
            realm = f'Bearer realm="http://{server.host}/token"'
            return Answer(401, {"WWW-Authenticate": realm})
        return image.answer(asked)

    with trio.fail_after(120):
        async with (
            scripted(answer) as server,
            running_daemon(tmp_path) as daemon,
            daemon.client(namespace="ns") as client,
        ):
            await pull(client, f"{server.host}/library/x:latest")
            assert made == 2


# --- redirects


async def test_credentials_do_not_follow_a_redirect(tmp_path: Path) -> None:
    image = SmallImage()

    def elsewhere(asked: Asked) -> Answer:
        return image.answer(asked)

    def answer(asked: Asked) -> Answer:
        if asked.headers.get("authorization") != BASIC:
            return Answer(401, {"WWW-Authenticate": 'Basic realm="x"'})
        if "/blobs/" in asked.target:
            return Answer(307, {"Location": f"http://{other.host}{asked.target}"})
        return image.answer(asked)

    with trio.fail_after(120):
        async with (
            scripted(elsewhere) as other,
            scripted(answer) as server,
            running_daemon(tmp_path) as daemon,
            daemon.client(namespace="ns") as client,
        ):
            name = f"{server.host}/library/x:latest"
            await pull(client, name, username=USER, password=PASSWORD)
            assert len(other.asked) == 2
            assert not any("authorization" in one.headers for one in other.asked)


async def test_headers_of_a_hosts_file_do_not_follow_a_redirect(tmp_path: Path) -> None:
    """They may hold a secret of the registry, as credentials do."""
    image = SmallImage()

    def answer(asked: Asked) -> Answer:
        if "/blobs/" in asked.target:
            return Answer(307, {"Location": f"http://{other.host}{asked.target}"})
        return image.answer(asked)

    with trio.fail_after(120):
        async with (
            scripted(image.answer) as other,
            scripted(answer) as server,
            running_daemon(tmp_path / "d") as daemon,
            daemon.client(namespace="ns") as client,
        ):
            hosts = tmp_path / "hosts" / server.host / "hosts.toml"
            hosts.parent.mkdir(parents=True)
            hosts.write_text(
                f'server = "http://{server.host}"\n'
                f'[host."http://{server.host}"]\n'
                f'[host."http://{server.host}".header]\nx-secret = "key"\n'
            )
            name = f"{server.host}/library/x:latest"
            await pull(client, name, hosts_dir=str(tmp_path / "hosts"))
            assert all(one.headers.get("x-secret") == "key" for one in server.asked)
            assert len(other.asked) == 2
            assert not any("x-secret" in one.headers for one in other.asked)


async def test_redirects_have_an_end(tmp_path: Path) -> None:
    image = SmallImage()

    def answer(asked: Asked) -> Answer:
        if asked.target.startswith(image.layer_path):
            step = asked.target.partition("?step=")[2] or "0"
            if int(step) > 100:
                return image.answer(asked)
            return Answer(307, {"Location": f"{image.layer_path}?step={int(step) + 1}"})
        return image.answer(asked)

    with trio.fail_after(120):
        async with (
            scripted(answer) as server,
            running_daemon(tmp_path) as daemon,
            daemon.client(namespace="ns") as client,
        ):
            with pytest.raises(DataLoss, match=r"redirects more than \d+ times"):
                await pull(client, f"{server.host}/library/x:latest")


async def refused(
    location: str, error: type[Exception], match: str, *, realm: str = ""
) -> None:
    """A registry that is taken for one outside leads there, and nobody follows."""
    image = SmallImage()

    async def look(host: str) -> Sequence[str]:
        return ["8.8.8.8"] if host == "localhost" else ["10.0.0.1"]

    def inside(_: Asked) -> Answer:
        return Answer()

    def answer(asked: Asked) -> Answer:
        if realm:
            there = realm.format(inner.host)
            return Answer(401, {"WWW-Authenticate": f'Bearer realm="{there}"'})
        if "/blobs/" in asked.target:
            return Answer(307, {"Location": location.format(inner.host)})
        return image.answer(asked)

    log = logging.LoggerAdapter(logging.getLogger("test"))
    resolver = RegistryResolver(
        Config(docker_config=""), Sources({}, {}, ""), log, look
    )
    access = Access(username=USER, password=PASSWORD)
    caught: list[Exception] = []
    with trio.fail_after(120):
        async with scripted(inside) as inner, scripted(answer) as server:
            name = f"{server.host}/library/x:latest".replace("127.0.0.1", "localhost")
            async with resolver.open(name, access) as remote:
                try:
                    await remote.resolve()
                    layer = (await remote.resolve()).__class__(
                        digest=digest(image.layer), size=len(image.layer)
                    )
                    async for _ in remote.blob(layer):
                        pass
                except error as raised:
                    caught.append(raised)
            assert inner.asked == []
    with pytest.raises(error, match=match):
        raise caught[0]


async def test_a_redirect_into_a_private_network_is_refused() -> None:
    await refused("http://{}/secret", PermissionDenied, "redirect leads to 127.0.0.1")


async def test_a_redirect_with_credentials_is_refused() -> None:
    await refused("http://u:p@{}/x", DataLoss, "with credentials in the address")


async def test_a_redirect_to_another_scheme_is_refused() -> None:
    await refused("ftp://{}/x", DataLoss, 'redirect with the scheme "ftp"')


async def test_a_token_server_in_a_private_network_gets_no_password() -> None:
    await refused(
        "", PermissionDenied, "token server leads to 127.0.0.1", realm="http://{}/token"
    )
