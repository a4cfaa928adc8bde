# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Log in at registries with what a vault's agent writes: `host user password` lines."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from pluggd.model.record import Record
from pluggd.plugin import Context, Registration, hookimpl
from pluggd.services.credentials import CREDENTIALS, Credential, Credentials


class Config(Record, frozen=True):
    file: str = "/run/vault/registries"
    """What the agent writes."""


class FromFile:
    def __init__(self, file: str) -> None:
        self._file = trio.Path(file)

    async def find(self, host: str) -> Credential | None:
        for line in (await self._file.read_text()).splitlines():
            name, username, password = line.split()
            if name == host:
                return Credential(username=username, password=password)
        return None  # somebody else may know


@asynccontextmanager
async def start(ctx: Context[Config]) -> AsyncGenerator[Credentials]:
    yield FromFile(ctx.config.file)


@hookimpl
def pluggd_register() -> Registration[Credentials, Config]:
    return Registration(provides=CREDENTIALS, id="vault", start=start, config=Config)
