# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""One image at a registry: the servers that may have it are asked in turn.

Mirrors first, the registry itself last. What a server says is checked here: sizes
while bytes come, digests of manifests; the digest of a blob is left to whoever stores
it, who hashes it anyway.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import TypeVar

import httpx2
import trio

from pluggd.errors import (
    DataLoss,
    NotFound,
    NotImplemented_,
    PermissionDenied,
    PluggdError,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)
from pluggd.model import oci
from pluggd.model.digests import check_digest
from pluggd.model.image_names import ImageName
from pluggd.model.types import Descriptor

from .body import exactly, length_of
from .login import reason
from .push import Pusher
from .reach import is_address
from .retry import backoff
from .server import Asked, Server, said

T = TypeVar("T")

ACCEPT = ", ".join(
    (oci.DOCKER_MANIFEST, oci.DOCKER_INDEX, oci.OCI_MANIFEST, oci.OCI_INDEX, "*/*")
)
PROGRESS = 256 << 10
"""Bytes that a connection must bring for the next one to be no further failure."""

MAX_URLS = 8
"""Addresses of one layer that are tried."""

_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+"


class RegistryRemote:
    """See `pluggd.services.resolver.Remote`."""

    def __init__(
        self,
        name: ImageName,
        servers: Sequence[Server],
        max_manifest: int,
        attempts: int,
    ) -> None:
        self._name = name
        self._servers = servers
        self._max_manifest = max_manifest
        self._attempts = attempts
        self._scopes = (f"repository:{name.path}:pull",)

    @property
    def source(self) -> tuple[str, str]:
        return self._name.hostname, self._name.path

    # --- what the name stands for

    async def resolve(self) -> Descriptor:
        able = "pull" if self._name.digest else "resolve"
        servers = [one for one in self._servers if able in one.host.capabilities]
        return await self._first(servers, self._resolve_at, str(self._name))

    async def _resolve_at(self, server: Server, last: bool) -> Descriptor:
        path = f"/{self._name.path}/manifests/{self._name.object}"
        async with server.request(self._asked(server, "HEAD", path), last=last) as head:
            if head.status_code != 405:
                await self._check(head, server, str(self._name))
                digest = head.headers.get("docker-content-digest", "")
                size = length_of(head)
                media_type = _media_type(head)
                if check_digest(digest) is None and size and media_type:
                    return self._resolved(media_type, digest, size, server)
        # It does not say all, as old registries and simple file servers do.
        async with server.request(self._asked(server, "GET", path), last=last) as got:
            await self._check(got, server, str(self._name))
            data = await self._read_manifest(got, server)
            algorithm = self._name.digest.partition(":")[0] or "sha256"
            digest = f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"
            media_type = _media_type(got) or oci.OCI_MANIFEST
            return self._resolved(media_type, digest, len(data), server)

    def _resolved(
        self, media_type: str, digest: str, size: int, server: Server
    ) -> Descriptor:
        if media_type.startswith(_SCHEMA1):
            raise NotImplemented_(
                f"{self._name} is a schema 1 manifest, a form of 2014 that is not "
                "supported; push it anew with a current tool: not implemented"
            )
        if self._name.digest and digest != self._name.digest:
            raise DataLoss(
                f"{server.host.name} answers {digest} when asked for "
                f"{self._name.digest}: data loss"
            )
        if size > self._max_manifest:
            raise self._too_large(str(self._name), size)
        return Descriptor(media_type=media_type, digest=digest, size=size)

    async def manifest(self, descriptor: Descriptor) -> bytes:
        if descriptor.size > self._max_manifest:
            raise self._too_large(descriptor.digest, descriptor.size)

        async def get(server: Server, last: bool) -> bytes:
            path = f"/{self._name.path}/manifests/{descriptor.digest}"
            asked = self._asked(server, "GET", path)
            async with server.request(asked, last=last) as response:
                await self._check(response, server, f"manifest {descriptor.digest}")
                data = await self._read_manifest(response, server)
            algorithm, _, value = descriptor.digest.partition(":")
            if len(data) != descriptor.size:
                raise DataLoss(
                    f"{server.host.name} sent {len(data)} bytes for manifest "
                    f"{descriptor.digest} of {descriptor.size}: data loss"
                )
            if hashlib.new(algorithm, data).hexdigest() != value:
                raise DataLoss(
                    f"{server.host.name} sent another manifest than "
                    f"{descriptor.digest}: data loss"
                )
            return data

        return await self._first(self._servers, get, f"manifest {descriptor.digest}")

    async def _read_manifest(self, response: httpx2.Response, server: Server) -> bytes:
        data = bytearray()
        try:
            async with aclosing(response.aiter_raw()) as parts:
                async for part in parts:
                    data += part
                    if len(data) > self._max_manifest:
                        raise self._too_large(f"a manifest of {self._name}", len(data))
        except httpx2.TransportError as error:
            raise Unavailable(
                f"{server.host.name}: {reason(error)}: unavailable"
            ) from error
        return bytes(data)

    def _too_large(self, what: str, size: int) -> ResourceExhausted:
        return ResourceExhausted(
            f"{what} has {size} bytes or more, over the limit of {self._max_manifest} "
            "(max_manifest): resource exhausted"
        )

    # --- blobs

    async def blob(
        self, descriptor: Descriptor, offset: int = 0, *, urls: Sequence[str] = ()
    ) -> AsyncGenerator[bytes]:
        failures = 0
        while offset < descriptor.size:
            began = offset
            try:
                # After a failure another server may do better.
                servers = self._servers[min(failures, len(self._servers) - 1) :]
                pieces = self._pieces(servers, descriptor, offset, urls)
                async with aclosing(pieces):
                    async for piece in pieces:
                        offset += len(piece)
                        yield piece
            except httpx2.TransportError as error:
                failures = 1 if offset - began >= PROGRESS else failures + 1
                if failures >= self._attempts:
                    raise Unavailable(
                        f"{self._name.host} broke off {failures} times in a row at "
                        f"{offset} of {descriptor.size} bytes of {descriptor.digest}: "
                        f"{reason(error)}: unavailable"
                    ) from error
                await trio.sleep(backoff(failures))

    async def _pieces(
        self,
        servers: Sequence[Server],
        descriptor: Descriptor,
        offset: int,
        urls: Sequence[str],
    ) -> AsyncGenerator[bytes]:
        """The rest of a blob from the first server that has it, over one connection."""
        problems: list[PluggdError] = []
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        for server in servers:
            last = server is servers[-1]
            path = f"/{self._name.path}/blobs/{descriptor.digest}"
            asked = self._asked(server, "GET", path, headers)
            try:
                async with server.request(asked, last=last) as response:
                    await self._check(response, server, f"blob {descriptor.digest}")
                    pieces = exactly(response, server, descriptor, offset)
                    async with aclosing(pieces):
                        async for piece in pieces:
                            yield piece
                return
            except (NotFound, Unavailable, Unauthenticated, PermissionDenied) as error:
                problems.append(error)
        worst = _worst(problems)
        if not urls or not isinstance(worst, NotFound):
            raise worst
        async with AsyncExitStack() as stack:
            found = await self._elsewhere(stack, descriptor, headers, urls)
            server = self._servers[-1]
            name = found.url.host
            pieces = exactly(found, server, descriptor, offset, name)
            async with aclosing(pieces):
                async for piece in pieces:
                    yield piece

    async def _elsewhere(
        self,
        stack: AsyncExitStack,
        descriptor: Descriptor,
        headers: dict[str, str],
        urls: Sequence[str],
    ) -> httpx2.Response:
        """The response, open as long as the stack, of the first address that has what
        the registry may not serve. Raises NotFound with what became of each."""
        server = self._servers[-1]
        tried: list[str] = []
        for url in urls[:MAX_URLS]:
            if not is_address(url):
                tried.append(f'"{url[:100]}" is no http address without a login')
                continue
            asked = Asked("GET", url, headers=headers, by="url of a layer")
            try:
                response = await stack.enter_async_context(
                    server.request(asked, last=url == urls[-1])
                )
            except (PluggdError, httpx2.InvalidURL) as error:
                tried.append(str(error))
                continue
            if response.status_code in (200, 206):
                return response
            tried.append(await said(response, httpx2.URL(url).host))
        raise NotFound(
            f"blob {descriptor.digest}: {server.host.name} does not have it, and it does "
            f"not come from the urls in its manifest ({'; '.join(tried)}): not found"
        )

    # --- uploads

    async def push_blob(
        self,
        descriptor: Descriptor,
        read: Callable[[], AsyncIterator[bytes]],
        *,
        mount_from: Sequence[str] = (),
    ) -> bool:
        return await self._pusher().blob(descriptor, read, mount_from)

    async def push_manifest(
        self, descriptor: Descriptor, data: bytes, *, tagged: bool = False
    ) -> bool:
        return await self._pusher().manifest(descriptor, data, tagged=tagged)

    def _pusher(self) -> Pusher:
        if not self._servers:
            raise PermissionDenied(
                f"{self._name.host}: no server of it may be pushed to, by its "
                "hosts.toml: permission denied"
            )
        return Pusher(self._name, self._servers[0])

    # --- asking several

    def _asked(
        self,
        server: Server,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
    ) -> Asked:
        if server.host.mirror:
            path += f"?ns={self._name.host}"
        accept = {"Accept": ACCEPT} if "/manifests/" in path else {}
        return Asked(method, path, self._scopes, {**accept, **(headers or {})})

    async def _first(
        self,
        servers: Sequence[Server],
        ask: Callable[[Server, bool], Awaitable[T]],
        what: str,
    ) -> T:
        problems: list[PluggdError] = []
        for server in servers:
            try:
                return await ask(server, server is servers[-1])
            except PluggdError as error:
                problems.append(error)
        if not problems:
            raise NotFound(
                f"{what}: no server may be asked for it, by hosts.toml: not found"
            )
        raise _worst(problems)

    async def _check(
        self, response: httpx2.Response, server: Server, what: str
    ) -> None:
        """Raises what a status other than success means."""
        status = response.status_code
        if status in (200, 206):
            return
        if status == 404:
            raise NotFound(f"{what}: {server.host.name} does not have it: not found")
        text = await said(response, server.host.name)
        if status == 403:
            raise PermissionDenied(
                f"{what}: pull access denied, repository does not exist or may require "
                f"authorization: {text}: permission denied"
            )
        if status == 416:
            raise DataLoss(f"{what} is shorter than it should be: {text}: data loss")
        if status == 400 and server.host.scheme == "http":
            text += (
                "; it may want HTTPS: name it with https:// in a hosts.toml for "
                f"{self._name.host}"
            )
        raise Unavailable(f"{what}: {text}: unavailable")


def _worst(problems: Sequence[PluggdError]) -> PluggdError:
    """The error of the registry itself, which was asked last; a mirror that lies or
    refuses counts more than a registry that is not there."""
    last = problems[-1]
    for problem in problems:
        if isinstance(last, Unavailable) and not isinstance(
            problem, Unavailable | NotFound
        ):
            return problem
    return last


def _media_type(response: httpx2.Response) -> str:
    return str(response.headers.get("content-type", "")).partition(";")[0].strip()
