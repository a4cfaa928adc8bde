# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Answering a registry that asks who is there: basic, or a bearer token.

One `Login` for each server and transfer; a token is made once per set of scopes and
used until the server refuses it. A secret goes to the server that it is for, and to
the token server that this one names, if that is not further inside than itself.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from urllib.parse import urlsplit

import httpx2
import trio

from pluggd.errors import DataLoss, PluggdError, Unauthenticated, Unavailable
from pluggd.model.record import Record, decode_json
from pluggd.services.credentials import Credential

from .challenge import Challenge, read_challenges
from .hosts import Host
from .reach import Lookup, check_leads

CLIENT_ID = "pluggd"
MAX_TOKEN = 1 << 20
"""Bytes of an answer of a token server."""

Find = Callable[[], Awaitable[Credential | None]]


class TokenAnswer(Record, frozen=True):
    token: str = ""
    access_token: str = ""


class Login:
    """The headers with which one server is talked to, by scope."""

    def __init__(
        self,
        host: Host,
        client: httpx2.AsyncClient,
        find: Find,
        look: Lookup,
        trusted: Sequence[str],
    ) -> None:
        self._host = host
        self._client = client
        self._find = find
        self._look = look
        self._trusted = trusted
        self._headers: dict[tuple[str, ...], str] = {}
        self._lock = trio.Lock()

    def header(self, scopes: Sequence[str]) -> str:
        """The value of `Authorization` for requests in these scopes, "" for none."""
        return self._headers.get(_key(scopes), "")

    async def answer(
        self, response: httpx2.Response, sent: str, scopes: Sequence[str]
    ) -> None:
        """Log in as the response (a 401) asks. sent: the header that did not do.

        Raises Unauthenticated when there is nothing to log in with, or the server of
        tokens refuses.
        """
        async with self._lock:
            if self.header(scopes) not in ("", sent):
                return  # somebody else did while this waited
            challenges = read_challenges(response.headers.get_list("www-authenticate"))
            if not challenges:
                raise Unauthenticated(
                    f"{self._host.name} refuses and does not say how to log in: "
                    "unauthenticated"
                )
            credential = await self._find()
            for challenge in challenges:
                header = await self._try(challenge, credential, scopes)
                if header:
                    self._headers[_key(scopes)] = header
                    return
            raise Unauthenticated(
                f"{self._host.name} asks for a login, and there are no credentials for "
                "it; give them with the pull, in logins of the resolver, or by "
                "`docker login` as the daemon's user: unauthenticated"
            )

    async def _try(
        self, challenge: Challenge, credential: Credential | None, scopes: Sequence[str]
    ) -> str:
        if challenge.scheme == "bearer":
            return f"Bearer {await self._token(challenge, credential, scopes)}"
        if credential is None or not credential.username:
            return ""
        return _basic(credential)

    async def _token(
        self, challenge: Challenge, credential: Credential | None, scopes: Sequence[str]
    ) -> str:
        realm = challenge.parameters.get("realm", "")
        parts = urlsplit(realm)
        if not parts.hostname or parts.username is not None:
            raise DataLoss(
                f'{self._host.name}: "{realm}" is no address of a token server: data loss'
            )
        await check_leads(
            (self._host.scheme, self._host.hostname),
            (parts.scheme, parts.hostname),
            "token server",
            self._look,
            self._trusted,
        )
        asked = set(scopes) | set(challenge.parameters.get("scope", "").split())
        fields = [("scope", scope) for scope in sorted(asked)]
        service = challenge.parameters.get("service")
        if service:
            fields.insert(0, ("service", service))
        if credential is not None and credential.identity_token:
            form = {
                "grant_type": "refresh_token",
                "refresh_token": credential.identity_token,
                "client_id": CLIENT_ID,
                "scope": " ".join(sorted(asked)),
                **({"service": service} if service else {}),
            }
            request = self._client.build_request("POST", realm, data=form)
        else:
            headers = (
                {} if credential is None else {"Authorization": _basic(credential)}
            )
            url = httpx2.URL(realm)
            url = url.copy_with(params=[*url.params.multi_items(), *fields])
            request = self._client.build_request("GET", url, headers=headers)
        where = f"token server {parts.hostname} of {self._host.name}"
        data = await self._send(request, where)
        try:
            found = decode_json(data, TokenAnswer, where)
        except PluggdError:
            # Not with the reason: the answer may be the token, oddly wrapped.
            raise DataLoss(f"{where} did not answer with a token: data loss") from None
        token = found.token or found.access_token
        if not token or not token.isprintable():
            raise DataLoss(f"{where} did not answer with a token: data loss")
        return token

    async def _send(self, request: httpx2.Request, where: str) -> bytes:
        try:
            response = await self._client.send(request, stream=True)
            try:
                if response.status_code in (400, 401, 403):
                    raise Unauthenticated(
                        f"{where} refuses these credentials, or refuses to give any "
                        "without them: unauthenticated"
                    )
                if response.status_code != 200:
                    raise Unavailable(
                        f"{where} answered {response.status_code}: unavailable"
                    )
                return await read_all(response, MAX_TOKEN, where)
            finally:
                await response.aclose()
        except httpx2.TransportError as error:
            raise Unavailable(f"{where}: {reason(error)}: unavailable") from error


async def read_all(response: httpx2.Response, limit: int, what: str) -> bytes:
    """The body. Raises DataLoss for one over the limit."""
    data = bytearray()
    async with aclosing(response.aiter_raw()) as parts:
        async for part in parts:
            data += part
            if len(data) > limit:
                raise DataLoss(f"{what} sent more than {limit} bytes: data loss")
    return bytes(data)


def reason(error: Exception) -> str:
    """What went wrong with a connection, in a few words."""
    known = {
        "ReadTimeout": "it sent nothing for too long",
        "WriteTimeout": "it took nothing for too long",
        "ConnectTimeout": "it cannot be reached in time",
    }.get(type(error).__name__)
    if known:
        return known
    cause: BaseException | None = error
    while cause is not None:
        # The library's own errors are often empty around one that says why.
        if text := str(cause).strip():
            return text
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__


def _basic(credential: Credential) -> str:
    pair = f"{credential.username}:{credential.password}".encode()
    return f"Basic {b64encode(pair).decode()}"


def _key(scopes: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(set(scopes)))
