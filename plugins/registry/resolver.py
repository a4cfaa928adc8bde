# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""From the name of an image to the servers that may have it."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from pluggd.errors import InvalidArgument
from pluggd.model.image_names import parse_image_name
from pluggd.services.credentials import Credential
from pluggd.services.resolver import NO_ACCESS, Access, Remote

from .config import Config, check_absolute
from .credentials import Sources, make_credential
from .totals import Totals

if TYPE_CHECKING:
    from .hosts import Host
    from .reach import Lookup


class RegistryResolver:
    """See `pluggd.services.resolver.Resolver`. Keeps nothing between two transfers."""

    def __init__(
        self,
        config: Config,
        sources: Sources,
        log: logging.LoggerAdapter[logging.Logger],
        look: Lookup | None = None,
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
        from .hosts import find_hosts
        from .reach import lookup
        from .remote import RegistryRemote
        from .server import Server

        look = self._look or lookup
        parsed = parse_image_name(name)
        check_absolute("hosts_dir", access.hosts_dir)
        config = self._config
        plain = access.plain_http or parsed.host in config.plain_http

        def find_all() -> list[Host]:
            if access.hosts_dir and not os.path.isdir(access.hosts_dir):
                raise InvalidArgument(
                    f'hosts_dir = "{access.hosts_dir}": the daemon sees no such '
                    "directory: invalid argument"
                )
            return find_hosts(
                parsed.host,
                access.hosts_dir or config.hosts_dir,
                plain_http=plain,
                push=push,
            )

        hosts = await trio.to_thread.run_sync(find_all)

        def find(host: Host) -> Server:
            async def credential() -> Credential | None:
                given = access.username or access.password
                if given and not host.mirror:  # they are for the registry alone
                    return make_credential(access.username, access.password)
                return await self._sources.find(host.name)

            return Server(host, config, credential, look, self._log, self._totals)

        servers = [find(host) for host in hosts]
        try:
            yield RegistryRemote(parsed, servers, config.max_manifest, config.attempts)
        finally:
            # What is under way was cancelled or is over; closing waits for nobody.
            with trio.CancelScope(shield=True):
                for server in servers:
                    await server.aclose()
