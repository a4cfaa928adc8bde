# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""From the name of an image to the servers that may have it."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from pluggd.model.image_names import parse_image_name
from pluggd.services.credentials import Credential
from pluggd.services.resolver import NO_ACCESS, Access, Remote

from .config import Config
from .credentials import Sources, make_credential
from .hosts import Host, find_hosts
from .reach import Lookup, lookup
from .totals import Totals


class RegistryResolver:
    """See `pluggd.services.resolver.Resolver`. Keeps nothing between two transfers."""

    def __init__(
        self,
        config: Config,
        sources: Sources,
        log: logging.LoggerAdapter[logging.Logger],
        look: Lookup = lookup,
        totals: Totals | None = None,
    ) -> None:
        self._totals = totals or Totals()
        self._config = config
        self._sources = sources
        self._log = log
        self._look = look

    @asynccontextmanager
    async def open(
        self, name: str, access: Access = NO_ACCESS, *, push: bool = False
    ) -> AsyncGenerator[Remote]:
        # At the first transfer, not at the start of the daemon: they take 0.1 s and
        # some megabytes.
        from .remote import RegistryRemote
        from .server import Server

        parsed = parse_image_name(name)
        config = self._config
        plain = access.plain_http or parsed.host in config.plain_http
        hosts = await trio.to_thread.run_sync(
            lambda: find_hosts(
                parsed.host,
                access.hosts_dir or config.hosts_dir,
                plain_http=plain,
                push=push,
            )
        )

        def find(host: Host) -> Server:
            async def credential() -> Credential | None:
                given = access.username or access.password
                if given and not host.mirror:  # they are for the registry alone
                    return make_credential(access.username, access.password)
                return await self._sources.find(host.name)

            return Server(host, config, credential, self._look, self._log, self._totals)

        servers = [find(host) for host in hosts]
        try:
            yield RegistryRemote(parsed, servers, config.max_manifest, config.attempts)
        finally:
            # What is under way was cancelled or is over; closing waits for nobody.
            with trio.CancelScope(shield=True):
                for server in servers:
                    await server.aclose()
