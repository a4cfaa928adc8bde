# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Requests to one server of a registry: logins, redirects and retries around HTTP.

Knows nothing of images. Addresses are not logged whole: those to which registries
redirect often contain a signature that is as good as a password.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field

import httpx2
import trio

from pluggd.errors import DataLoss, Unauthenticated, Unavailable

from .config import Config
from .hosts import Host
from .login import Find, Login, reason
from .reach import Lookup, check_leads
from .retry import RETRIED, backoff, retry_after
from .totals import Totals

Body = bytes | Callable[[], AsyncIterator[bytes]] | None
MAX_REDIRECTS = 5
MAX_ERROR = 8 << 10
REDIRECTS = frozenset({301, 302, 303, 307, 308})
CONNECT_TIME = 10.0

logging.getLogger("httpx2").setLevel(logging.WARNING)


class Unreachable(Unavailable):
    """Nothing listens there, or its certificate is not good."""


@dataclass(frozen=True)
class Asked:
    """A request. path: below `/v2`, or a whole address. body: a function gives the body
    anew for each attempt. by: what names an address of another server, for errors."""

    method: str
    path: str
    scopes: Sequence[str] = ()
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: Body = None
    by: str = "redirect"


class Server:
    """One host, with connections that are kept while the block of `connected` runs."""

    def __init__(
        self,
        host: Host,
        config: Config,
        find: Find,
        look: Lookup,
        log: logging.LoggerAdapter[logging.Logger],
        totals: Totals,
    ) -> None:
        self.host = host
        self.totals = totals
        self._config = config
        self._find = find
        self._look = look
        self._log = log
        self._stack = AsyncExitStack()
        self._client: httpx2.AsyncClient | None = None
        self._foreign: httpx2.AsyncClient | None = None
        self._login: Login | None = None
        self._connecting = trio.Lock()

    async def aclose(self) -> None:
        await self._stack.aclose()

    async def _connect(self, *, foreign: bool = False) -> httpx2.AsyncClient:
        """The client for this host, or for where it redirects to."""
        async with self._connecting:
            found = self._foreign if foreign else self._client
            if found is not None:
                return found
            context = await trio.to_thread.run_sync(
                lambda: self.host.tls(foreign=foreign)
            )
            config = self._config
            client = await self._stack.enter_async_context(
                httpx2.AsyncClient(
                    # False is for plain HTTP, where nothing could be verified.
                    verify=False if context is None else context,
                    timeout=httpx2.Timeout(
                        config.stall_timeout,
                        connect=self.host.dial_timeout or CONNECT_TIME,
                        pool=None,
                    ),
                    limits=httpx2.Limits(max_connections=None),
                    headers={"User-Agent": "pluggd", "Accept-Encoding": "identity"},
                )
            )
            if foreign:
                self._foreign = client
            else:
                self._client = client
                self._login = Login(
                    self.host, client, self._find, self._look, config.trusted_hosts
                )
            return client

    @asynccontextmanager
    async def request(
        self, asked: Asked, *, last: bool = True
    ) -> AsyncGenerator[httpx2.Response]:
        """The response, its body not read; of any status that is not tried again.

        last: no other server can be asked instead, so this one gets all attempts.
        Raises Unavailable, Unauthenticated, PermissionDenied, DataLoss.
        """
        response = await self._persist(asked, last=last)
        try:
            yield response
        finally:
            await response.aclose()

    async def _persist(self, asked: Asked, *, last: bool) -> httpx2.Response:
        attempt = 0
        while True:
            attempt += 1
            exhausted = attempt >= self._config.attempts
            wait: float | None = None
            try:
                response = await self._with_login(asked)
            except httpx2.ConnectError as error:
                why = f"{self.host.name}: {reason(error)}"
                if not last or exhausted or "certificate" in why:
                    raise Unreachable(f"{why}: unavailable") from error
            except httpx2.TransportError as error:
                why = f"{self.host.name}: {reason(error)}"
                if exhausted:
                    raise Unavailable(f"{why}: unavailable") from error
            else:
                if response.status_code not in RETRIED:
                    return response
                why = await said(response, self.host.name)
                wait = retry_after(response.headers.get("retry-after"))
                await response.aclose()
                if exhausted or (not last and response.status_code != 429):
                    raise Unavailable(f"{why}: unavailable")
                if wait is not None and wait > self._config.max_wait:
                    raise Unavailable(
                        f"{why}: it asks to come back in {wait:.0f} s (max_wait is "
                        f"{self._config.max_wait:.0f} s): unavailable"
                    )
            self.totals.retries += 1
            delay = backoff(attempt) if wait is None else wait
            self._log.info("trying again in %.1f s: %s", delay, why)
            await trio.sleep(delay)

    async def _with_login(self, asked: Asked) -> httpx2.Response:
        client = await self._connect()
        login = self._login
        assert login is not None
        sent = login.header(asked.scopes)
        fresh = False
        while True:
            response = await self._follow(client, asked, sent)
            if response.status_code != 401:
                return response
            try:
                if fresh:
                    raise Unauthenticated(
                        f"{await said(response, self.host.name)}: it does not accept "
                        "this login, or has no such repository for it: unauthenticated"
                    )
                await login.answer(response, sent, asked.scopes)
            finally:
                await response.aclose()
            self.totals.logins += 1
            sent, fresh = login.header(asked.scopes), True

    async def _follow(
        self, client: httpx2.AsyncClient, asked: Asked, authorization: str
    ) -> httpx2.Response:
        """Send, and go where the server sends on to. Credentials stay behind."""
        address = asked.path
        if "://" not in address:
            address = self.host.url + address
        own = _origin(httpx2.URL(self.host.url))
        url = first = httpx2.URL(address)
        for _ in range(MAX_REDIRECTS):
            at_home = _origin(url) == own
            headers = dict(asked.headers)
            if at_home:
                headers = {**self.host.headers, **headers}
                if authorization:
                    headers["Authorization"] = authorization
            else:
                await check_leads(
                    (self.host.scheme, self.host.hostname),
                    (url.scheme, url.host),
                    asked.by if url == first else "redirect",
                    self._look,
                    self._config.trusted_hosts,
                )
            sender = client if at_home else await self._connect(foreign=True)
            content = asked.body() if callable(asked.body) else asked.body
            request = sender.build_request(
                asked.method, url, headers=headers, content=content
            )
            self.totals.requests += 1
            response = await sender.send(request, stream=True)
            if response.status_code == 401 and not at_home:
                # Not a question to us: whoever sent us there gave a wrong address.
                await response.aclose()
                raise Unauthenticated(
                    f"{self.host.name} sends to {url.host}, which refuses: "
                    "unauthenticated"
                )
            location = response.headers.get("location")
            if response.status_code not in REDIRECTS or location is None:
                return response
            await response.aclose()
            try:
                url = url.join(location)
            except httpx2.InvalidURL:
                raise DataLoss(
                    f"{self.host.name} redirects to what is no address: data loss"
                ) from None
            if url.userinfo:
                raise DataLoss(
                    f"{self.host.name} redirects to {url.host} with credentials in the "
                    "address: data loss"
                )
        raise DataLoss(
            f"{self.host.name} redirects more than {MAX_REDIRECTS} times: data loss"
        )


async def said(response: httpx2.Response, name: str) -> str:
    """Status and message of a refusal, short and printable."""
    text = bytearray()
    try:
        async with aclosing(response.aiter_raw()) as parts:
            async for part in parts:
                text += part
                if len(text) > MAX_ERROR:
                    break
    except httpx2.TransportError:
        text.clear()
    message = ""
    try:
        first = json.loads(bytes(text[:MAX_ERROR]))["errors"][0]
        message = str(first.get("message") or first.get("code") or "")
    except (
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        RecursionError,
    ):
        pass
    message = "".join(char for char in message if char.isprintable())[:200]
    status = f"{name} answered {response.status_code}"
    return f"{status} ({message})" if message else status


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    default = {"http": 80, "https": 443}.get(url.scheme)
    return url.scheme, url.host, url.port or default
