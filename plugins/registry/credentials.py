# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Who to be at a registry: the places where credentials are looked for, in order.

The caller's own, the configuration, plugins that provide credentials, Docker's file
with its helpers. Looked up when a registry asks, never before, and never logged.
"""

from __future__ import annotations

import os
import subprocess
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import trio

from pluggd.errors import FailedPrecondition
from pluggd.model.record import Record, decode_json
from pluggd.services.credentials import Credential, Credentials

from .config import Login

T = TypeVar("T")

DOCKER_HUB = "https://index.docker.io/v1/"
HELPER_TIME = 30.0
"""Seconds that a credential helper may take."""


class DockerAuth(Record, frozen=True):
    auth: str = ""
    username: str = ""
    password: str = ""
    identitytoken: str = ""


class DockerConfig(
    Record,
    frozen=True,
    rename={"creds_store": "credsStore", "cred_helpers": "credHelpers"},
):
    """The part of Docker's config.json that is about logins."""

    auths: dict[str, DockerAuth] = {}
    creds_store: str = ""
    cred_helpers: dict[str, str] = {}


class Sources:
    """Looks in all places but the caller's. docker_config: as in the configuration."""

    def __init__(
        self,
        logins: Mapping[str, Login],
        plugins: Mapping[str, Credentials],
        docker_config: str,
    ) -> None:
        self._logins = logins
        self._plugins = plugins
        self._docker_config = docker_config

    async def find(self, host: str) -> Credential | None:
        """For a registry as in names of images.

        Raises FailedPrecondition naming the file or the helper that does not work.
        """
        host = "docker.io" if host == "registry-1.docker.io" else host
        login = self._logins.get(host)
        if login is not None:
            return await trio.to_thread.run_sync(_from_file, host, login)
        for _, plugin in sorted(self._plugins.items()):
            found = await plugin.find(host)
            if found is not None:
                return found
        file = self._docker_file()
        return None if file is None else await _from_docker(file, host)

    def _docker_file(self) -> Path | None:
        if self._docker_config != "auto":
            return Path(self._docker_config) if self._docker_config else None
        directory = os.environ.get("DOCKER_CONFIG")
        if directory:
            return Path(directory, "config.json")
        home = os.environ.get("HOME")
        return Path(home, ".docker", "config.json") if home else None


def _from_file(host: str, login: Login) -> Credential:
    try:
        secret = Path(login.secret_file).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise FailedPrecondition(
            f'logins."{host}": secret_file {login.secret_file} cannot be read: '
            f"{reason.lower()}: failed precondition"
        ) from None
    return make_credential(login.username, secret)


def make_credential(username: str, secret: str) -> Credential:
    """Without a user, a secret is an identity token."""
    if username:
        return Credential(username=username, password=secret)
    return Credential(identity_token=secret)


async def _from_docker(file: Path, host: str) -> Credential | None:
    try:
        data = await trio.Path(file).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FailedPrecondition(
            f"{file}: {error.strerror}; make it readable for the daemon, or set "
            'docker_config = "": failed precondition'
        ) from None
    config = decode_json(data, DockerConfig, str(file))
    key = DOCKER_HUB if host == "docker.io" else host
    helper = _by_host(config.cred_helpers, host) or config.creds_store
    if helper:
        found = await _from_helper(helper, key)
        if found is not None:
            return found
    entry = _by_host(config.auths, host)
    if entry is None:
        return None
    if entry.identitytoken:
        return Credential(identity_token=entry.identitytoken)
    if entry.auth:
        try:
            username, _, password = b64decode(entry.auth).decode().partition(":")
        except ValueError:
            raise FailedPrecondition(
                f'{file}: auths."{host}": auth is not base64 of user:password: '
                "failed precondition"
            ) from None
        return Credential(username=username, password=password.rstrip("\0"))
    if entry.username:
        return Credential(username=entry.username, password=entry.password)
    return None


def _by_host(table: Mapping[str, T], host: str) -> T | None:
    """Keys may be hosts, or addresses as old versions of Docker wrote them."""
    if host == "docker.io" and DOCKER_HUB in table:
        return table[DOCKER_HUB]
    for key, value in table.items():
        bare = key.removeprefix("https://").removeprefix("http://")
        if bare.partition("/")[0] == host:
            return value
    return None


async def _from_helper(helper: str, key: str) -> Credential | None:
    program = f"docker-credential-{helper}"
    if "/" in helper:
        raise FailedPrecondition(
            f'credential helper "{helper}" must be the end of a name, after '
            "docker-credential-: failed precondition"
        )
    done: subprocess.CompletedProcess[bytes] | None = None
    try:
        with trio.move_on_after(HELPER_TIME):
            done = await trio.run_process(
                [program, "get"],
                stdin=key.encode(),
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
    except FileNotFoundError:
        raise FailedPrecondition(
            f"credential helper {program} is not installed where the daemon looks "
            "(PATH): failed precondition"
        ) from None
    if done is None:
        raise FailedPrecondition(
            f"credential helper {program} did not answer within {HELPER_TIME:g} s: "
            "failed precondition"
        )
    if done.returncode:
        if b"credentials not found" in done.stdout + done.stderr:
            return None
        # What it says may hold what it knows; its exit code does not.
        raise FailedPrecondition(
            f"credential helper {program} failed for {key} with exit code "
            f"{done.returncode}: failed precondition"
        )
    import json

    try:
        answer = json.loads(done.stdout)
        username, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, KeyError, TypeError):
        raise FailedPrecondition(
            f"credential helper {program} answered for {key} something that is no "
            "credential: failed precondition"
        ) from None
    return make_credential("" if username == "<token>" else username, secret)
