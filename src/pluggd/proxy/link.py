# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The connection to the other process, kept up: made, watched, made again.

A call asks for the connection of this moment. When there is none it fails at once with
the reason, and nobody waits for a process that may never come back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import trio

from pluggd.client.client import Client, connect
from pluggd.client.connection import Connection
from pluggd.core.figures import resident_memory
from pluggd.errors import PluggdError, Unavailable
from pluggd.model.figures import Figure, counter, gauge
from pluggd.wire.messages import HELLO, OWN_FEATURES

MEMORY = "proxy_memory_bytes"

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
"""Seconds between two attempts to connect; doubled from the first to the longest."""


class Link:
    """Keeps one connection to an address.

    heartbeat: seconds between two questions whether the other end still answers, and
    that it has to answer one. degraded: told why there is no connection, or "".
    """

    def __init__(
        self,
        address: str,
        *,
        heartbeat: float,
        degraded: Callable[[str], None],
        log: logging.LoggerAdapter[logging.Logger],
    ) -> None:
        self.address = address
        self._heartbeat = heartbeat
        self._degraded = degraded
        self._log = log
        self._client: Client | None = None
        self._why = f"{address} was not connected to yet"
        self._tried = trio.Event()
        self._connects = 0

    def figures(self) -> list[Figure]:
        """For `pluggctl stats`."""
        up = self._client is not None
        pid = self._client.connection.peer() if self._client is not None else 0
        return [
            *(
                [gauge(MEMORY, "Of the other process, resident.", resident_memory(pid))]
                if pid
                else []
            ),
            gauge("proxy_connected", "Whether the other process is there.", up),
            counter(
                "proxy_connects",
                "Connections that were made; more than one: it was away.",
                self._connects,
            ),
        ]

    def connection(self) -> Connection:
        """The one of this moment. Raises Unavailable, with the reason."""
        if self._client is None:
            raise Unavailable(f"{self._why}: unavailable")
        return self._client.connection

    async def first_attempt(self) -> None:
        """Wait until it is known whether somebody is there."""
        await self._tried.wait()

    async def run(self) -> None:
        """Connect, watch, and connect again, for ever."""
        pause = FIRST_PAUSE
        while True:
            try:
                async with connect(self.address, timeout=self._heartbeat) as client:
                    self._up(client)
                    pause = FIRST_PAUSE
                    await self._watch(client)
            except PluggdError as error:
                self._down(error.message)
            finally:
                self._client = None
            await trio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _watch(self, client: Client) -> None:
        """Ask now and then; returns by raising what is wrong."""
        while True:
            with trio.move_on_after(self._heartbeat):
                await client.connection.closed()
            late = f"{self.address} does not answer within {self._heartbeat:g} s"
            with trio.move_on_after(self._heartbeat) as scope:
                # Any answer will do: a foreign server may not know the method.
                exchange = client.connection.begin(
                    HELLO, {"features": list(OWN_FEATURES)}, {}
                )
                await exchange.answered.wait()
            if scope.cancelled_caught:
                raise Unavailable(late)

    def _up(self, client: Client) -> None:
        self._client = client
        self._connects += 1
        self._degraded("")
        self._tried.set()
        self._log.info("proxy connected", extra={"address": self.address})

    def _down(self, why: str) -> None:
        if self._client is not None or not self._tried.is_set():
            self._log.warning(
                "proxy not connected", extra={"address": self.address, "reason": why}
            )
        self._why = why
        self._degraded(why)
        self._tried.set()
