# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Credentials: who to be at a registry. A plugin that provides this kind is asked.

In process only: a secret is never sent over the socket. Any number of plugins may
provide the kind; they are asked in order of their ids, and the first that knows the
host is believed.
"""

from __future__ import annotations

from typing import Protocol

from pluggd.model.record import Record
from pluggd.services.kind import Kind


class Credential(Record, frozen=True):
    """A user and a password, or an identity token: a refresh token that the registry's
    token server changes for access tokens. Its text form shows neither."""

    username: str = ""
    password: str = ""
    identity_token: str = ""

    def __repr__(self) -> str:
        return f"Credential(username={self.username!r}, ...)"

    __str__ = __repr__


class Credentials(Protocol):
    """Knows the credentials of some registries."""

    async def find(self, host: str) -> Credential | None:
        """What to log in with at a registry; None when this is not known here.

        host: as in the names of images, with the port (`registry.example:5000`);
        `docker.io` for Docker's. Called for each pull and push that the registry asks
        for a login, so that a secret may change. What it raises fails the pull.
        """
        ...


CREDENTIALS = Kind("pluggd.credentials.v1", Credentials)
