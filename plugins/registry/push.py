# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Uploading to a registry: blobs in one piece, then what names them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from urllib.parse import quote

import httpx2

from pluggd.errors import DataLoss, PermissionDenied, Unavailable
from pluggd.model.image_names import ImageName
from pluggd.model.types import Descriptor

from .server import Asked, Server, said


class Pusher:
    """Writes one repository at one server."""

    def __init__(self, name: ImageName, server: Server) -> None:
        self._name = name
        self._server = server
        self._scopes = (f"repository:{name.path}:pull,push",)

    async def blob(
        self,
        descriptor: Descriptor,
        read: Callable[[], AsyncIterator[bytes]],
        mount_from: Sequence[str],
    ) -> bool:
        path = f"/{self._name.path}/blobs/"
        asked = Asked("HEAD", path + descriptor.digest, self._scopes)
        async with self._server.request(asked) as found:
            if found.status_code == 200:
                return False
        for other in mount_from:
            if await self._mount(descriptor, other):
                return False
        digest = quote(descriptor.digest, safe="")
        location = await self._begin(f"{path}uploads/")

        asked = Asked(
            "PUT",
            f"{location}{'&' if '?' in location else '?'}digest={digest}",
            self._scopes,
            {
                "Content-Type": "application/octet-stream",
                "Content-Length": str(descriptor.size),
            },
            read,
        )
        async with self._server.request(asked) as response:
            await self._check(response, f"blob {descriptor.digest}")
        return True

    async def _mount(self, descriptor: Descriptor, other: str) -> bool:
        """Let the registry take the blob from another repository of its own."""
        digest = quote(descriptor.digest, safe="")
        path = f"/{self._name.path}/blobs/uploads/?mount={digest}&from={quote(other)}"
        scopes = (*self._scopes, f"repository:{other}:pull")
        asked = Asked("POST", path, scopes, {"Content-Length": "0"})
        try:
            async with self._server.request(asked) as response:
                return response.status_code == 201
        except PermissionDenied:
            return False

    async def _begin(self, path: str) -> str:
        asked = Asked("POST", path, self._scopes, {"Content-Length": "0"})
        async with self._server.request(asked) as response:
            await self._check(response, "an upload")
            location = response.headers.get("location", "")
            try:
                return str(response.url.join(location))
            except httpx2.InvalidURL:
                raise DataLoss(
                    f"{self._server.host.name} gives an upload what is no address: "
                    "data loss"
                ) from None

    async def manifest(
        self, descriptor: Descriptor, data: bytes, *, tagged: bool
    ) -> bool:
        name = self._name.tag if tagged and self._name.tag else descriptor.digest
        path = f"/{self._name.path}/manifests/{name}"
        accept = {"Accept": descriptor.media_type}
        asked = Asked("HEAD", path, self._scopes, accept)
        async with self._server.request(asked) as found:
            there = found.headers.get("docker-content-digest")
            if found.status_code == 200 and there == descriptor.digest:
                return False
        asked = Asked(
            "PUT", path, self._scopes, {"Content-Type": descriptor.media_type}, data
        )
        async with self._server.request(asked) as response:
            await self._check(response, f"manifest {descriptor.digest}")
            stored = response.headers.get("docker-content-digest", descriptor.digest)
            if stored != descriptor.digest:
                raise DataLoss(
                    f"{self._server.host.name} stored {stored} for "
                    f"{descriptor.digest}: data loss"
                )
        return True

    async def _check(self, response: httpx2.Response, what: str) -> None:
        status = response.status_code
        if status in (200, 201, 202, 204):
            return
        text = await said(response, self._server.host.name)
        if status in (403, 404):
            raise PermissionDenied(
                f"{what} may not be pushed to {self._name.host}/{self._name.path}: "
                f"{text}: permission denied"
            )
        raise Unavailable(f"{what} was not taken: {text}: unavailable")
