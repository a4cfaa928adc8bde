# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""GET /metrics over HTTP/1.1, and nothing else.

One request for each connection, and everything has a bound: connections, the size of
what comes (8 KiB), the time from the first byte to the last. h11 knows the protocol.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import h11
import trio

from .exposition import CONTENT_TYPE

MOST_BYTES = 8 * 1024
"""Of a request with its headers."""

READ = 4096

MOST_UNREAD = 1024 * 1024
"""Bytes behind the request, of a body that nobody wants, that are taken and dropped."""

Answer = tuple[int, list[tuple[str, str]], bytes]


class HttpServer:
    """text: gives the exposition. connections, timeout: see the configuration."""

    def __init__(
        self,
        text: Callable[[], Awaitable[str]],
        log: logging.LoggerAdapter[logging.Logger],
        *,
        connections: int,
        timeout: float,
    ) -> None:
        self._text = text
        self._log = log
        self._limit = connections
        self._timeout = timeout
        self._open = 0

    async def serve(self, listener: trio.SocketListener) -> None:
        """Serve until cancelled."""
        await trio.serve_listeners(self.handle, [listener])

    async def handle(self, stream: trio.abc.HalfCloseableStream) -> None:
        """One connection, to its end; whatever its peer does stays here."""
        self._open += 1
        try:
            if self._open <= self._limit:
                with trio.move_on_after(self._timeout):
                    await self._exchange(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # it went away
        finally:
            self._open -= 1
            await trio.aclose_forcefully(stream)

    async def _exchange(self, stream: trio.abc.HalfCloseableStream) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST_BYTES)
        method = b""
        try:
            request = await _request(stream, connection)
            if request is None:
                return
            method = request.method
            status, headers, body = await self._answer(request)
        except h11.RemoteProtocolError as error:
            status, headers, body = _plain(error.error_status_hint, str(error))
        fixed = [("Content-Length", str(len(body))), ("Connection", "close")]
        response = h11.Response(status_code=status, headers=[*headers, *fixed])
        data = connection.send(response) or b""
        if method != b"HEAD":
            data += connection.send(h11.Data(data=body)) or b""
        await stream.send_all(data)
        # Closed with something unread, the kernel would take the answer back.
        await stream.send_eof()
        unread = 0
        while unread < MOST_UNREAD and (rest := await stream.receive_some(READ)):
            unread += len(rest)

    async def _answer(self, request: h11.Request) -> Answer:
        if request.target.partition(b"?")[0] != b"/metrics":
            return _plain(404, "there is /metrics, and nothing else")
        if request.method not in (b"GET", b"HEAD"):
            status, headers, body = _plain(405, "/metrics is read with GET")
            return status, [*headers, ("Allow", "GET, HEAD")], body
        try:
            text = await self._text()
        except Exception:  # noqa: BLE001 - the scraper is told, the log has it
            self._log.exception("no figures for a scrape")
            return _plain(500, "no figures: see the log of the daemon")
        return 200, [("Content-Type", CONTENT_TYPE)], text.encode()


async def _request(
    stream: trio.abc.Stream, connection: h11.Connection
) -> h11.Request | None:
    """The head of the request, or None when the peer has gone before its end."""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            return event
        if event is h11.NEED_DATA:
            connection.receive_data(bytes(await stream.receive_some(READ)))
        else:
            return None


def _plain(status: int, text: str) -> Answer:
    headers = [("Content-Type", "text/plain; charset=utf-8")]
    return status, headers, text.encode() + b"\n"
